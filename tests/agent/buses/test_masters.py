"""Masters on sound lines, and what they say when a port or a unit is not there."""

import asyncio
import fcntl
import getpass
import os
import random
import sys

import pytest
from lms_agent.buses import adapters
from lms_agent.buses.modbus_frames import ReadRequest
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.errors import (
    InstrumentRefused,
    PortBusy,
    PortError,
    PortLost,
    PortMissing,
    PortRefused,
    ReplyTimeout,
)
from lms_agent.settings.model import ModbusRtuBus
from lms_firmware_sim.wires import Fault, ModbusTcpWire, RegisterMap, RtuWire
from support.patience import awaiting


@pytest.mark.parametrize("kind", ["rtu", "tcp"])
async def test_every_function_and_size_reads_what_is_there(kind, master_on):
    registers = RegisterMap(
        holding={address: address for address in range(200)},
        input={address: 5000 + address for address in range(200)},
        coil={address: address % 3 == 0 for address in range(2100)},
        discrete={address: address % 5 == 0 for address in range(2100)},
    )
    wire = RtuWire({9: registers}) if kind == "rtu" else ModbusTcpWire({9: registers})
    async with wire:
        master = master_on(wire, timeout_s=2.0)
        for function, base in ((3, 0), (4, 5000)):
            for address, count in ((0, 1), (17, 2), (75, 125)):
                reply = await master.read(ReadRequest(9, function, address, count))
                assert reply.data == b"".join((base + address + step).to_bytes(2) for step in range(count))
        for function, step in ((1, 3), (2, 5)):
            for address, count in ((0, 1), (7, 9), (1, 2000)):
                data = (await master.read(ReadRequest(9, function, address, count))).data
                bits = [data[at >> 3] >> (at & 7) & 1 for at in range(count)]
                assert bits == [int((address + at) % step == 0) for at in range(count)]


async def test_exception_says_code_and_remedy(master_on):
    async with ModbusTcpWire({1: RegisterMap(holding={0: 1})}) as wire:
        master = master_on(wire, timeout_s=2.0)
        with pytest.raises(InstrumentRefused, match=r"no such address.*largest_gap") as caught:
            await master.read(ReadRequest(1, 3, 0, 2))
        assert (caught.value.code, caught.value.unit, caught.value.port) == (2, 1, wire.address)


async def test_silent_unit_is_named_with_port_and_timeout(master_on):
    async with RtuWire({1: RegisterMap(holding={0: 1})}) as wire:
        with pytest.raises(ReplyTimeout, match=rf"no reply from unit 3 on {wire.address} within 0\.03 s"):
            await master_on(wire).read(ReadRequest(3, 3, 0, 1))


async def test_time_taken_is_when_the_reply_arrived(master_on):
    import time

    async with ModbusTcpWire({1: RegisterMap(holding={0: 1})}) as wire:
        master = master_on(wire, timeout_s=5.0)
        await master.read(ReadRequest(1, 3, 0, 1))
        wire.fault = Fault.late(0.2)
        before = time.time_ns() // 1_000_000
        reply = await master.read(ReadRequest(1, 3, 0, 1))
        assert before + 195 <= reply.arrived_ms <= time.time_ns() // 1_000_000


async def test_requests_of_two_tasks_never_overlap_on_one_line(master_on):
    registers = RegisterMap(holding={address: address for address in range(100)})
    async with RtuWire({1: registers, 2: registers}) as wire:
        master = master_on(wire, timeout_s=2.0)
        requests = [ReadRequest(1 + number % 2, 3, number, 2) for number in range(40)]
        replies = await asyncio.gather(*(master.read(request) for request in requests))
    for number, reply in enumerate(replies):
        assert reply.data == number.to_bytes(2) + (number + 1).to_bytes(2)


async def test_unplugged_terminal_is_read_again_under_its_new_name(tmp_path, master_on):
    async with RtuWire({1: RegisterMap(holding={0: 7})}, link=tmp_path / "by-id") as wire:
        master = master_on(wire, timeout_s=2.0)
        await master.read(ReadRequest(1, 3, 0, 1))
        wire.fault = Fault.unplugged()
        with pytest.raises(PortLost):
            await master.read(ReadRequest(1, 3, 0, 1))
        with pytest.raises(PortMissing, match="is the adapter plugged in"):
            await master.read(ReadRequest(1, 3, 0, 1))
        keeps_name_busy = os.openpty()  # so that the terminal comes back under another name
        wire.fault = None
        reply = await eventually(lambda: master.read(ReadRequest(1, 3, 0, 1)))
        assert reply.data == b"\x00\x07"
        for end in keeps_name_busy:
            os.close(end)


async def test_adapter_is_found_again_by_its_id_where_the_port_was_named_by_device_file(
    tmp_path, master_on, monkeypatch
):
    monkeypatch.setattr(adapters, "BY_ID", tmp_path)
    async with RtuWire({1: RegisterMap(holding={0: 7})}, link=tmp_path / "usb-FTDI_1234-if00") as wire:
        settings = ModbusRtuBus(id="b", kind="modbus-rtu", port=wire.terminal_path, timeout_s=2.0)
        master = make_bus(settings, SystemClock(), random.Random(1))
        await master.read(ReadRequest(1, 3, 0, 1))
        wire.fault = Fault.unplugged()
        with pytest.raises(PortLost):
            await master.read(ReadRequest(1, 3, 0, 1))
        # Another adapter gets the old name, for the system gives the lowest that is free: it is not ours.
        async with RtuWire({1: RegisterMap(holding={0: 666})}) as other:
            with pytest.raises(PortMissing, match="the adapter usb-FTDI_1234-if00, which had this port, is gone"):
                await master.read(ReadRequest(1, 3, 0, 1))
            wire.fault = None
            assert (await eventually(lambda: master.read(ReadRequest(1, 3, 0, 1)))).data == b"\x00\x07"
            assert not other.requests
        await master.close()


async def test_connection_that_is_cut_is_made_again(master_on):
    async with ModbusTcpWire({1: RegisterMap(holding={0: 7})}) as wire:
        master = master_on(wire, timeout_s=2.0)
        await master.read(ReadRequest(1, 3, 0, 1))
        wire.fault = Fault.unplugged()
        with pytest.raises(PortError):
            await master.read(ReadRequest(1, 3, 0, 1))
        with pytest.raises(PortRefused, match="takes no connection"):
            await master.read(ReadRequest(1, 3, 0, 1))
        wire.fault = None
        assert (await eventually(lambda: master.read(ReadRequest(1, 3, 0, 1)))).data == b"\x00\x07"


async def eventually(attempt):
    """What `attempt` gives in the end."""
    async with awaiting("the port is back"):
        while True:
            try:
                return await attempt()
            except PortError:
                await asyncio.sleep(0.05)


async def test_port_of_another_program_is_named_with_remedy(master_on):
    async with RtuWire({1: RegisterMap(holding={0: 7})}) as wire:
        other = os.open(wire.address, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            with pytest.raises(PortBusy, match=f"{wire.address} is in use by another program; `fuser"):
                await master_on(wire).read(ReadRequest(1, 3, 0, 1))
        finally:
            os.close(other)


async def test_program_that_has_a_port_is_named_with_its_process(master_on):
    async with RtuWire({1: RegisterMap(holding={0: 7})}) as wire:
        code = "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); "
        code += "fcntl.flock(fd, fcntl.LOCK_EX); print('has it', flush=True); sys.stdin.read()"
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, wire.address, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        await other.stdout.readline()
        with pytest.raises(PortBusy, match=rf"is in use by python\S* \(process {other.pid}\)\. Stop it"):
            await master_on(wire).read(ReadRequest(1, 3, 0, 1))
        other.stdin.close()
        await other.wait()


async def test_file_that_is_no_port_is_said_to_be_none(tmp_path, master_on):
    (tmp_path / "plain").write_text("")
    async with RtuWire({1: RegisterMap()}) as wire:
        master = master_on(wire)
        master._stream.port = str(tmp_path / "plain")
        with pytest.raises(PortError, match="is no serial port"):
            await master.read(ReadRequest(1, 3, 0, 1))


def test_denied_port_names_account_group_and_command():
    from lms_agent.buses.serial_line import _why_not

    error = _why_not("/dev/ttyS77", PermissionError(13, "Permission denied"))  # not there: dialout, as on Debian
    assert "add the account to the group dialout" in str(error)
    assert f"sudo usermod -aG dialout {getpass.getuser()}" in str(error)


def test_denied_port_of_the_group_root_is_to_be_given_to_another_group():
    from lms_agent.buses.serial_line import _why_not

    error = _why_not("/dev/null", PermissionError(13, "Permission denied"))
    assert "give the port to the group dialout" in str(error)
    assert "usermod" not in str(error)


async def test_unknown_host_is_named(master_on):
    async with ModbusTcpWire({}) as wire:
        master = master_on(wire)
        master._stream._host = "no-such-host.invalid"
        with pytest.raises(PortMissing, match="host name is unknown"):
            await master.read(ReadRequest(1, 3, 0, 1))


async def test_closing_twice_and_reading_on_is_harmless(master_on):
    async with ModbusTcpWire({1: RegisterMap(holding={0: 7})}) as wire:
        master = master_on(wire, timeout_s=2.0)
        await master.read(ReadRequest(1, 3, 0, 1))
        await master.close()
        await master.close()
        assert (await master.read(ReadRequest(1, 3, 0, 1))).data == b"\x00\x07"
