"""What systemd hears of a running agent: that it is ready, that it reads, how it does, that it stops."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

from lms_agent.health import read_status, status_path

OFTEN = "5000000"


async def test_systemd_is_told(wire: Any, configure: Any, start_agent: Any, free_port: int, systemd: Any) -> None:
    surroundings = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": OFTEN}
    async with start_agent(configure(wire.port, free_port), **surroundings) as agent:
        await systemd.until("READY=1")
        await systemd.until("WATCHDOG=1\nSTATUS=")
        agent.process.terminate()
        await systemd.until("STOPPING=1")
        await agent.process.wait()


async def test_disk_that_holds_up_the_status_file_is_no_reason_to_start_anew(
    wire: Any, configure: Any, start_agent: Any, free_port: int, systemd: Any
) -> None:
    config = configure(wire.port, free_port)
    held_up = status_path(config.parent / "log.sqlite3").with_name("log.sqlite3.status.json.new")
    os.mkfifo(held_up)  # to open it for writing waits until somebody reads
    async with start_agent(config, NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC=OFTEN) as agent:
        for _ in range(3):
            await systemd.until("WATCHDOG=1")
        await agent.until_batches(5)
        assert read_status(agent.log) is None
        threading.Thread(target=_read_to_its_end, args=(held_up,), daemon=True).start()
        assert await agent.end() == 0


async def test_status_says_that_new_settings_are_not_taken_over(
    wire: Any, configure: Any, start_agent: Any, free_port: int, systemd: Any
) -> None:
    config = configure(wire.port, free_port)
    good = config.read_text()
    async with start_agent(config, NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC=OFTEN) as agent:
        await systemd.until("READY=1")
        config.write_text(good.replace("[[bus]]", "[[buss]]"))
        agent.process.send_signal(signal.SIGHUP)
        await systemd.until("NEW SETTINGS NOT TAKEN OVER")
        config.write_text(good)
        agent.process.send_signal(signal.SIGHUP)
        await agent.until_says("nothing has changed")
        assert await agent.end() == 0
    status = read_status(agent.log)
    assert status is not None
    assert status["settings_refused"] is False


def _read_to_its_end(pipe: Path) -> None:
    while pipe.exists():
        pipe.read_bytes()
