"""What the errors of ports advise can be pasted into a shell."""

import shlex

from lms_agent.errors import PortBusy, PortDenied


def test_advice_for_a_busy_port_quotes_a_path_with_a_space() -> None:
    command = str(PortBusy("/home/ana/a plant/str-2")).split("`")[1]
    assert shlex.split(command) == ["fuser", "/home/ana/a plant/str-2"]


def test_group_root_is_never_advised():
    assert "usermod" not in str(PortDenied("/dev/ttyS9", "lms-agent", "root"))
    assert "dialout" in str(PortDenied("/dev/ttyS9", "lms-agent", "root"))
    assert "usermod -aG dialout lms-agent" in str(PortDenied("/dev/ttyS9", "lms-agent", "dialout"))
