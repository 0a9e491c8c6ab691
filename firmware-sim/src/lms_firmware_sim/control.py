"""The small door to a plant that `lms-sim serve` runs: `lms-sim fault`, `place` and `wear` come in here.

A Unix socket beside the saved state, for its owner only: one JSON line in, one out.

    {"wire": "str-2", "fault": {"kind": "silence", "unit": 2}}   →  {"faults": {"str-1": null, "str-2": {…}}, …}
    {"probe": "ezo-ph", "place": "4.01"}                         →  {…, "places": {"ezo-ph": "4.01"}}
    {"probe": "ezo-ph", "wear": {"slope_percent": 85}}           →  {…, "ages": {"ezo-ph": {…}}}
    {}                                                           →  {"faults": {…}, "places": {…}, "ages": {…}}
    anything wrong                                               →  {"error": "a sentence"}
"""

import asyncio
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from lms_firmware_sim.errors import SimulatorError, UnknownProbe
from lms_firmware_sim.wires.faults import Fault
from lms_firmware_sim.wires.wire import Wire

_LONGEST_LINE = 65_536
_WITHIN_S = 10.0


class ControlError(SimulatorError):
    """The running simulator cannot be reached, or refuses what is asked.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@contextmanager
def _short(file: Path) -> Iterator[str]:
    """A name for a socket's file that is short enough (108 bytes) however deep its folder lies."""
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{file.name}"
    finally:
        os.close(folder)


class Probes(Protocol):
    """Probes that can be moved: `FittedInstruments`."""

    def place(self, name: str, place: str) -> None:
        """Put a probe somewhere else."""

    def places(self) -> dict[str, str]:
        """Where each probe is."""

    def wear(self, name: str, changes: Mapping[str, float]) -> None:
        """Let a probe grow old, break it, or make it new."""

    def ages(self) -> dict[str, dict[str, float]]:
        """How old each probe is."""


class PlantControl:
    """Listens beside a running plant. Use as an asynchronous context manager.

    Args:
        file: the socket.
        wires: whose faults are switched.
        probes: that are moved; None: there are none.
    """

    def __init__(self, file: Path, wires: Mapping[str, Wire], probes: Probes | None = None) -> None:
        self._file = file
        self._wires = wires
        self._probes = probes
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ControlError: another simulator serves this plant, or the socket cannot be made.
        """
        if _is_answered(self._file):
            raise ControlError(f"Another lms-sim serves this plant and answers at {self._file}; stop it first.")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.unlink(missing_ok=True)
            with _short(self._file) as name:
                listening.bind(name)
            self._file.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._converse, sock=listening, limit=_LONGEST_LINE)
        except OSError as error:
            listening.close()
            raise ControlError(f"{self._file} cannot be made: {error.strerror or error}.") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._file.unlink(missing_ok=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(_WITHIN_S):
                line = await reader.readline()
            try:
                answer = self._answer(json.loads(line))
            except (SimulatorError, AttributeError, ValueError, TypeError) as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _answer(self, asked: Any) -> dict[str, Any]:
        if not isinstance(asked, dict):
            raise ControlError("A request is a JSON object.")
        name = asked.get("wire")
        if name is not None:
            if name not in self._wires:
                raise ControlError(f"Wire {name!r} is not in the plant; known are {', '.join(self._wires)}.")
            wanted = asked.get("fault")
            self._wires[name].fault = None if wanted is None else Fault.of(**wanted)
        probe = asked.get("probe")
        if probe is not None:
            if self._probes is None:
                raise UnknownProbe(str(probe), [])
            if "place" in asked:
                self._probes.place(str(probe), str(asked["place"]))
            if "wear" in asked:
                self._probes.wear(str(probe), {str(name): float(value) for name, value in asked["wear"].items()})
        return {
            "faults": {each: None if wire.fault is None else asdict(wire.fault) for each, wire in self._wires.items()},
            "places": {} if self._probes is None else self._probes.places(),
            "ages": {} if self._probes is None else self._probes.ages(),
        }


def _is_answered(file: Path) -> bool:
    if not file.exists():
        return False
    try:
        request(file, {})
    except ControlError:
        return False
    return True


def request(file: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the running simulator at a socket; gives `faults`, by wire, `places` and `ages`, by probe.

    Raises:
        ControlError: nobody answers there, or what is asked is refused.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talking, _short(file) as name:
            talking.settimeout(_WITHIN_S)
            talking.connect(name)
            talking.sendall(json.dumps(asked).encode() + b"\n")
            with talking.makefile("rb") as lines:
                answer = json.loads(lines.readline())
    except (OSError, ValueError) as error:
        raise ControlError(
            f"No lms-sim answers at {file} ({error}). This works while `lms-sim serve --state-dir …` runs."
        ) from error
    if "error" in answer:
        raise ControlError(answer["error"])
    found: dict[str, Any] = answer
    return found
