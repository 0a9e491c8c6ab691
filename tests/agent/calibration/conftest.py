"""An agent with one transmitter that the agent calibrates."""

import pytest
from support.one_reactor import settings_of

M80 = """
[[bus]]
id = "line"
kind = "modbus-rtu"
port = "/dev/ttyUSB0"
[[instrument]]
id = "m80"
profile = "mettler-m80"
bus = "line"
bioreactor = "R1"
"""


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path, M80)
