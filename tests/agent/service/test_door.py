"""The door: one JSON line in, one out; who asks is known from the kernel; nothing that comes in breaks it."""

import asyncio
import getpass
import json
import socket
import stat
from contextlib import asynccontextmanager

import pytest
from lms_agent.service import Service, ServiceDenied, ServiceRefused, ServiceSilent
from lms_agent.service.door import LONGEST_LINE, MOST_ASKERS, BadRequest, Door
from lms_agent.service.socket_file import short_name, socket_path
from support.patience import awaiting


@asynccontextmanager
async def opened_door(log, **answers):
    path = socket_path(log)
    task = asyncio.create_task(Door(path, answers).run())
    async with awaiting("the door is open"):
        while not _is_open(log):
            await asyncio.sleep(0.01)
    try:
        yield path
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _is_open(log):
    service = Service.of(log)
    if service is not None:
        service.close()
    return service is not None


async def echo(asked):
    return {"account": asked.account, **asked.what}


async def ask(log, what, **more):
    """Ask from a thread, as the command line does from a process."""

    def from_outside():
        with Service.of(log) as service:
            return service.ask(what, **more)

    return await asyncio.to_thread(from_outside)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.sqlite3"


async def test_request_is_answered_and_the_asker_is_known(log):
    async with opened_door(log, echo=echo) as path:
        answer = await ask(log, "echo", word="µ")
        assert answer == {"ask": "echo", "word": "µ", "account": getpass.getuser()}
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


async def test_nobody_listens_is_no_error(log):
    assert Service.of(log) is None
    assert Service.of(log.parent / "no folder" / "log.sqlite3") is None
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(socket_path(log)))  # of an agent that was killed
    left.close()
    assert Service.of(log) is None
    async with opened_door(log, echo=echo):
        assert await ask(log, "echo")


async def test_folder_may_lie_deeper_than_sockets_can_name(tmp_path):
    folder = tmp_path.joinpath(*["a folder with a long name"] * 8)
    folder.mkdir(parents=True)
    async with opened_door(folder / "log.sqlite3", echo=echo):
        assert await ask(folder / "log.sqlite3", "echo")


async def test_what_lies_in_the_sockets_place_is_not_followed(tmp_path, log):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    socket_path(log).symlink_to(victim)
    async with opened_door(log, echo=echo):
        assert await ask(log, "echo")
    assert victim.read_text() == "precious"


async def test_refusal_is_a_sentence_with_its_kind(log):
    async def refuse(asked):
        raise BadRequest("not today")

    async with opened_door(log, refuse=refuse):
        with pytest.raises(ServiceRefused, match=r"^not today$") as refused:
            await ask(log, "refuse")
        assert refused.value.kind == "BadRequest"
        with pytest.raises(ServiceRefused, match="does not know 'dance'; it answers refuse"):
            await ask(log, "dance")


async def test_answer_that_breaks_is_told_and_the_door_stays_open(log, caplog):
    async def broken(asked):
        return {"quotient": 1 / asked.what["by"]}

    async with opened_door(log, broken=broken):
        with pytest.raises(ServiceRefused, match="ZeroDivisionError"):
            await ask(log, "broken", by=0)
        assert "could not be answered" in caplog.text
        assert await ask(log, "broken", by=2) == {"quotient": 0.5}


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"nonsense\n", b"\xff\xfe\n", b"[" * 30_000 + b"\n"])
async def test_nonsense_is_refused_and_more_may_be_asked(log, line):
    async with opened_door(log, echo=echo) as path:
        with short_name(path) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        writer.write(line + b'{"ask":"echo"}\n')
        assert json.loads(await reader.readline())["error"] == "a request is one JSON object on one line"
        assert json.loads(await reader.readline())["ask"] == "echo"
        writer.close()
        await writer.wait_closed()


async def test_line_without_end_is_not_kept(log):
    async with opened_door(log, echo=echo) as path:
        with short_name(path) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        writer.write(b"x" * 3 * LONGEST_LINE)
        assert "at most" in json.loads(await reader.readline())["error"]
        writer.close()


async def test_crowd_is_told_to_come_again(log):
    async with opened_door(log, echo=echo) as path:
        with short_name(path) as name:
            crowd = [await asyncio.open_unix_connection(name) for _ in range(MOST_ASKERS)]
        for reader, writer in crowd:
            writer.write(b'{"ask":"echo"}\n')
            assert await reader.readline()
        with pytest.raises((ServiceRefused, ServiceSilent)):
            await ask(log, "echo")
        for _, writer in crowd:
            writer.close()
            await writer.wait_closed()
        async with awaiting("there is room again"):
            while True:
                try:
                    assert await ask(log, "echo")
                    break
                except (ServiceRefused, ServiceSilent):
                    await asyncio.sleep(0.01)


async def test_door_that_cannot_be_opened_is_told_and_nothing_else_ends(log, caplog):
    socket_path(log).mkdir()
    await Door(socket_path(log), {}).run()
    assert "cannot be opened" in caplog.text


async def test_who_may_not_ask_is_told_the_remedy(log, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    async with opened_door(log, echo=echo):
        monkeypatch.setattr(socket.socket, "connect", denied)  # tests may run as root, who may everything
        with pytest.raises(ServiceDenied, match="use sudo"):
            Service.of(log)
