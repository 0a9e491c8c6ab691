"""What the errors of ports advise can be pasted into a shell."""

import os
import pty
import shlex
import termios

import pytest
import serial
from lms_agent.buses.serial_line import SerialLine
from lms_agent.clock import SystemClock
from lms_agent.errors import PortBusy, PortDenied, PortError


def test_advice_for_a_busy_port_quotes_a_path_with_a_space() -> None:
    command = str(PortBusy("/home/ana/a plant/str-2")).split("`")[1]
    assert shlex.split(command) == ["fuser", "/home/ana/a plant/str-2"]


def test_group_root_is_never_advised():
    assert "usermod" not in str(PortDenied("/dev/ttyS9", "lms-agent", "root"))
    assert "dialout" in str(PortDenied("/dev/ttyS9", "lms-agent", "root"))
    assert "usermod -aG dialout lms-agent" in str(PortDenied("/dev/ttyS9", "lms-agent", "dialout"))


async def test_damaged_characters_are_not_handed_over():
    near, far = pty.openpty()
    line = SerialLine(os.ttyname(far), baud=9600, data_bits=8, parity="even", stop_bits=1, clock=SystemClock())
    await line.open()
    flags = termios.tcgetattr(near)[0]
    line.close()
    os.close(near)
    os.close(far)
    assert flags & termios.INPCK, "parity and stop bit are checked"
    assert not flags & (termios.IGNPAR | termios.PARMRK), "and what is damaged becomes a zero byte"


async def test_setting_that_a_port_does_not_take_is_an_error_of_the_port(monkeypatch):
    def refuse(*_, **__):
        raise termios.error(22, "Invalid argument")

    monkeypatch.setattr(serial, "Serial", refuse)
    line = SerialLine("/dev/ttyS9", baud=12345, data_bits=8, parity="even", stop_bits=1, clock=SystemClock())
    with pytest.raises(PortError, match="does not take 12345 baud 8E1"):
        await line.open()
