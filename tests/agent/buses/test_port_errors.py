"""What the errors of ports advise can be pasted into a shell."""

import shlex

from lms_agent.errors import PortBusy


def test_advice_for_a_busy_port_quotes_a_path_with_a_space() -> None:
    command = str(PortBusy("/home/ana/a plant/str-2")).split("`")[1]
    assert shlex.split(command) == ["fuser", "/home/ana/a plant/str-2"]
