"""`lms-sim fault`: faults switched from outside while a plant is served."""

import asyncio
import json
import stat

import pytest
from lms_firmware_sim.control import ControlError, PlantControl, request
from lms_firmware_sim.wires import Fault, ModbusTcpWire, RegisterMap


@pytest.fixture
async def controlled(tmp_path):
    """A wire with a control socket beside it, in a folder too deep for a plain socket name."""
    file = tmp_path / ("deep" * 20) / "demo.control"
    async with ModbusTcpWire({1: RegisterMap(holding={0: 1})}) as wire, PlantControl(file, {"line-1": wire}):
        yield wire, file


async def test_fault_is_switched_on_listed_and_switched_off(controlled, lms_sim):
    wire, file = controlled
    place = ("--state-dir", file.parent)
    code, output, errors = await lms_sim("fault", "line-1", "late", "--delay", "0.2", "--unit", "1", *place)
    assert (code, errors) == (0, "")
    assert "late" in output
    assert wire.fault == Fault.late(0.2, unit=1)
    code, output, _ = await lms_sim("fault", "--json", *place)
    assert json.loads(output)["line-1"]["kind"] == "late"
    code, output, _ = await lms_sim("fault", "line-1", "none", *place)
    assert (code, "well" in output) == (0, True)
    assert wire.fault is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("line-9", "silence"), "known are line-1"),
        (("line-1", "sulking"), "allowed are silence, late"),
        (("line-1",), "Which fault?"),
    ],
)
async def test_nonsense_is_refused_in_a_sentence(controlled, lms_sim, arguments, told):
    wire, file = controlled
    code, _, errors = await lms_sim("fault", *arguments, "--state-dir", file.parent)
    assert (code, told in errors) == (2, True), errors
    assert wire.fault is None


async def test_nobody_there_is_told(lms_sim, tmp_path):
    code, _, errors = await lms_sim("fault", "--state-dir", tmp_path)
    assert (code, "No lms-sim answers" in errors) == (2, True)


async def test_socket_is_its_owners_alone_and_gone_afterwards(controlled):
    _, file = controlled
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_garbage_is_answered_with_an_error(controlled):
    _, file = controlled
    with pytest.raises(ControlError, match="JSON object"):
        await asyncio.to_thread(request, file, [])
    with pytest.raises(ControlError):
        await asyncio.to_thread(request, file, {"wire": "line-1", "fault": {"colour": "blue"}})


async def test_second_simulator_of_the_same_plant_is_refused(controlled):
    wire, file = controlled
    with pytest.raises(ControlError, match="Another lms-sim"):
        await asyncio.to_thread(lambda: asyncio.run(PlantControl(file, {"line-1": wire}).__aenter__()))
    assert "line-1" in (await asyncio.to_thread(request, file, {}))["faults"]
