"""What the agent tells systemd, when nobody takes it."""

import socket
from pathlib import Path

import pytest
from lms_agent import notify
from lms_agent.notify import Notifier


@pytest.fixture
def line(tmp_path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.bind(str(tmp_path / "n"))
    return made


def test_systemd_that_does_not_listen_ends_nothing(
    line: socket.socket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line.close()
    notifier = Notifier(str(tmp_path / "n"))
    notifier.ready()
    notifier.alive("well")
    notifier.stopping()
    assert caplog.text.count("Connection refused. Reading and sending go on.") == 1


def test_systemd_that_takes_nothing_more_is_not_waited_for(
    line: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "PATIENCE_S", 0.01)
    notifier = Notifier(str(tmp_path / "n"))
    with line:
        while not caplog.text:  # until its queue is full
            notifier.alive("well")
        assert line.recv(100) == b"WATCHDOG=1\nSTATUS=well"
