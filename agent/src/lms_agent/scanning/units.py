"""Which Modbus units answer on a line.

Each unit is asked for its first holding register. It is there if it answers at all, be it with an exception: a unit
that refuses a question has heard it.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple, cast

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import READ_HOLDING, ReadRequest, crc16
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.errors import InstrumentBusy, InstrumentRefused, PortError, ReplyRefused, ReplyTimeout
from lms_agent.scanning.places import Place
from lms_agent.scanning.settings_order import LineSetting
from lms_agent.settings.model import ModbusRtuBus, ModbusTcpBus

GATEWAY_CODES = frozenset((10, 11))
"""Exceptions that a gateway gives for a unit that is not there."""
_QUIET_S = 0.005
"""Between two units: a late reply shall come while another is asked, where it is noticed."""


class Heard(NamedTuple):
    """What came back from one unit.

    Attributes:
        unit: its number, its letter, or None if it is alone on its line.
        said: what it answered, for people; "" if it was not there.
        noise: whether bytes came that are no frame: another baud rate, another protocol, or a bad cable.
    """

    unit: int | str | None
    said: str
    noise: bool = False


def open_line(place: Place, setting: LineSetting | None, timeout_s: float) -> ModbusMaster:
    """A master for a place; nothing is opened before the first request.

    Args:
        setting: of a serial line; None for TCP.
    """
    clock, chance = SystemClock(), random.Random()  # noqa: S311 - spreads retries; nothing secret
    if setting is None:
        endpoint = ModbusTcpBus(
            kind="modbus-tcp", id="scan", host=place.host, port=place.port, timeout_s=timeout_s, zero_transactions=True
        )
        bus = make_bus(endpoint, clock, chance)
    else:
        line = ModbusRtuBus(
            kind="modbus-rtu",
            id="scan",
            port=place.name,
            baud=setting.baud,
            parity=setting.parity,
            stop_bits=setting.stop_bits,
            timeout_s=timeout_s,
            silence_s=_QUIET_S,
        )
        bus = make_bus(line, clock, chance)
    return cast("ModbusMaster", bus)


async def find_units(
    master: ModbusMaster, units: Iterable[int], asking: Callable[[int], None] = lambda _: None
) -> AsyncIterator[Heard]:
    """Ask each unit once; what was heard, and only where something was.

    Args:
        asking: told each number before it is asked.

    Raises:
        PortError: the line cannot be used.
    """
    for unit in units:
        asking(unit)
        heard = await _ask(master, unit)
        if heard.said and heard.unit != unit:  # one that was asked before is late, and may have drowned this one
            yield heard
            heard = await _ask(master, unit)
        if heard.said or heard.noise:
            yield heard


async def _ask(master: ModbusMaster, unit: int) -> Heard:
    try:
        reply = await master.read(ReadRequest(unit, READ_HOLDING, 0, 1))
    except PortError:
        raise
    except InstrumentRefused as error:
        if error.code in GATEWAY_CODES:
            return Heard(unit, "")
        return Heard(unit, f"answers, but not for holding register 0 (error {error.code})")
    except InstrumentBusy:
        return Heard(unit, "answers that it is busy")
    except ReplyTimeout as error:
        return Heard(unit, "", noise=bool(error.received))
    except ReplyRefused as error:
        return _late(unit, error)
    return Heard(unit, f"holding register 0 holds {int.from_bytes(reply.data)}")


def _late(unit: int, error: ReplyRefused) -> Heard:
    """A whole frame of another unit is the late answer of one that was asked before."""
    frame = error.reply
    if len(frame) >= 5 and crc16(frame[:-2]) == frame[-2:] and frame[0] != unit:
        return Heard(frame[0], "answers late: it needs a longer timeout_s")
    return Heard(unit, "", noise=True)
