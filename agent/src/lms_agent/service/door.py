"""The door: a Unix socket beside the log, one JSON line in, one JSON line out, as often as the asker likes.

    {"ask": "read", "instruments": ["ph-probe"]}   →  {"visits": […]}
    anything wrong                                 →  {"error": "a sentence", "kind": "UnknownInstrument"}

Who asks is known from the kernel, not from what the line says. A door that cannot be opened keeps nobody from reading
instruments: the agent says so and goes on.

Neighbours: `lms_agent.service.desk` answers; `lms_agent.service.client` is the other side.
"""

import asyncio
import json
import logging
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from lms_protocol.errors import LmsError

from lms_agent.service.errors import BROKEN
from lms_agent.service.socket_file import SOCKET_MODE, short_name

LOGGER = logging.getLogger(__name__)

LONGEST_LINE = 65_536
MOST_ASKERS = 16
IDLE_S = 300.0
"""Who says nothing for so long is sent away."""
_CREDENTIALS = struct.Struct("3i")  # process, user, group


class Asked(NamedTuple):
    """What was asked.

    Attributes:
        what: the whole line.
        account: the name of the user whose process asks.
    """

    what: Mapping[str, Any]
    account: str


class BadRequest(LmsError):
    """What came through the door is no request that this agent knows."""


Answer: TypeAlias = Callable[[Asked], Awaitable[Mapping[str, Any]]]
"""Answers one request; an `LmsError` becomes a refusal."""


class Door:
    """Listens beside a log, for as long as `run` runs.

    Args:
        file: the socket. The caller holds the log's lock, so that no other agent can listen there.
        answers: by what is asked.
    """

    def __init__(self, file: Path, answers: Mapping[str, Answer]) -> None:
        self._file = file
        self._answers = answers
        self._askers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen until cancelled; or return at once, and say why, if that cannot be."""
        try:
            server = await asyncio.start_unix_server(self._take, sock=self._listening(), limit=LONGEST_LINE)
        except OSError as error:
            reason = error.strerror or str(error)
            LOGGER.warning("The door %s cannot be opened: %s. Commands of `lms-agent` cannot ask.", self._file, reason)
            return
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
            for asker in self._askers:
                asker.cancel()
            if self._askers:
                await asyncio.wait(self._askers)

    def _listening(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._file.unlink(missing_ok=True)  # of an agent that was killed
            with short_name(self._file) as name:
                listening.bind(name)
            self._file.chmod(SOCKET_MODE)
        except BaseException:
            listening.close()
            raise
        return listening

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._askers.add(task)
            task.add_done_callback(self._askers.discard)
        try:
            if len(self._askers) > MOST_ASKERS:
                await _say(writer, _refusal(BadRequest(f"{MOST_ASKERS} others ask just now; try again")))
                return
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the asker has gone, or is to go
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        account = _account(writer.get_extra_info("socket"))
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
            except ValueError:
                await _say(writer, _refusal(BadRequest(f"a request has at most {LONGEST_LINE} bytes")))
                return
            if not line:
                return
            await _say(writer, await self._answer(line, account))

    async def _answer(self, line: bytes, account: str) -> Mapping[str, Any]:
        try:
            asked = Asked(_object_of(line), account)
            return await self._answer_to(asked)(asked)
        except LmsError as error:
            return _refusal(error)
        except Exception as error:
            LOGGER.exception("What was asked through the door could not be answered: %.200r", line)
            return {"error": f"the agent failed over this ({error!r}); its journal says more", "kind": BROKEN}

    def _answer_to(self, asked: Asked) -> Answer:
        name = asked.what.get("ask")
        answer = self._answers.get(str(name))
        if answer is None:
            known = ", ".join(self._answers)
            raise BadRequest(f"this agent does not know {name!r}; it answers {known}. Is it another release?")
        return answer


def _object_of(line: bytes) -> Mapping[str, Any]:
    try:
        what = json.loads(line)
    except (ValueError, RecursionError):
        what = None
    if not isinstance(what, dict):
        raise BadRequest("a request is one JSON object on one line")
    return what


def _refusal(error: LmsError) -> dict[str, Any]:
    return {"error": str(error), "kind": type(error).__name__}


async def _say(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
    await writer.drain()


def _account(asking: Any) -> str:
    """The user at the other end, by what the kernel says."""
    _, user, _ = _CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
