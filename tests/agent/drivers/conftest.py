"""Drivers of text dialects on lines of their own."""

import random

import pytest
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.settings.model import SerialBus


@pytest.fixture
async def line_on():
    """`line_on(wire, timeout_s=…)`: the agent's own line on a simulated wire; closed after the test."""
    lines = []

    def connect(wire, timeout_s=1.0, **more):
        settings = SerialBus(id="b", kind="serial", port=wire.address, timeout_s=timeout_s, **more)
        line = make_bus(settings, SystemClock(), random.Random(1))
        lines.append(line)
        return line

    yield connect
    for line in lines:
        await line.close()


@pytest.fixture
def speaking(line_on):
    """`speaking(model, point_model, wire | line, *points, **instrument)`: a driver; its tags are 100, 101 …"""

    def make(model, line, *points, timeout_s=1.0, **instrument):
        if not hasattr(line, "ask"):
            line = line_on(line, timeout_s=timeout_s)
        driver = {"EzoInstrument": "ezo", "AlicatInstrument": "alicat", "WatsonMarlowInstrument": "watson-marlow"}
        settings = model(
            id="i", period_s=5.0, bus="b", bioreactor="R1", driver=driver[model.__name__], point=points, **instrument
        )
        return make_driver(settings, line, [100 + number for number in range(len(points))])

    return make


FAULTS = ["late", "shifted", "truncated", "garbage-before", "garbage-after", "bad-crc", "silence", "wrong-unit"]
FAULTS += ["wrong-function", "wrong-count", "not-a-number", "busy", "echo"]


@pytest.fixture(params=FAULTS)
def fault_kind(request):
    """Every fault of a text line that must not let a wrong value through."""
    return request.param
