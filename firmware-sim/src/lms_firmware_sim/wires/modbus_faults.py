"""How a fault looks in a Modbus reply, before it is put into a frame (here) and after (`damage_frame`)."""

import random
from typing import NamedTuple

from lms_firmware_sim.wires.faults import Fault, FaultKind
from lms_firmware_sim.wires.modbus_requests import READ_TABLES, SERVER_DEVICE_BUSY, answer, exception_reply
from lms_firmware_sim.wires.registers import RegisterMap

# Words that are far outside any instrument's range whatever the word order: 0x7F7F7F7F is 3.4e38 as a float32,
# 32639 as an int16; 0xFFFFFFFF is no number as a float32.
_FAR_WORD = b"\x7f\x7f"
_NAN_WORD = b"\xff\xff"


class Reply(NamedTuple):
    """A reply that is not framed yet: the unit it claims to come from, function code and data."""

    unit: int
    data: bytes


class Memory:
    """What an ill unit remembers while a fault lasts: frozen replies, and the reply that it still owes."""

    def __init__(self) -> None:
        self._frozen: dict[tuple[int, bytes], Reply] = {}
        self._owed: dict[int | str | None, bytes] = {}

    def forget(self) -> None:
        """Start afresh; for a change of fault."""
        self._frozen.clear()
        self._owed.clear()

    def frozen(self, request: bytes, reply: Reply) -> Reply:
        """The first reply that was given to this very request while the fault lasts."""
        return self._frozen.setdefault((reply.unit, request), reply)

    def exchange(self, unit: int | str | None, frame: bytes) -> bytes:
        """The frame owed for the request before, keeping this one; empty for the first."""
        owed = self._owed.get(unit, b"")
        self._owed[unit] = frame
        return owed


def carry_out(fault: Fault | None, request: bytes, registers: RegisterMap) -> bytes:
    """The sound reply to a request; a unit that is busy does nothing at all, and a write to it changes nothing."""
    if fault is not None and fault.kind is FaultKind.BUSY:
        return exception_reply(request[0], SERVER_DEVICE_BUSY)
    return answer(request, registers)


def damage(fault: Fault | None, request: bytes, reply: Reply, memory: Memory) -> Reply:
    """The reply as the ill unit forms it; its frame is still a good one."""
    if fault is None:
        return reply
    unit, data = reply
    function = data[0]
    match fault.kind:
        case FaultKind.WRONG_UNIT:
            return Reply(unit % 247 + 1, data)
        case FaultKind.WRONG_FUNCTION:
            return Reply(unit, bytes((_other_function(function),)) + data[1:])
        case FaultKind.WRONG_COUNT:
            return Reply(unit, _other_count(data, fault.size))
        case FaultKind.STUCK:
            return memory.frozen(request, reply)
        case FaultKind.OUT_OF_RANGE:
            return Reply(unit, _with_words(data, _FAR_WORD))
        case FaultKind.NOT_A_NUMBER:
            return Reply(unit, _with_words(data, _NAN_WORD))
        case _:
            return reply


def damage_frame(fault: Fault | None, request_frame: bytes, frame: bytes, generator: random.Random) -> bytes:
    """The framed reply as it comes off an ill line; empty for silence."""
    if fault is None:
        return frame
    match fault.kind:
        case FaultKind.SILENCE:
            return b""
        case FaultKind.TRUNCATED:
            return frame[: max(0, len(frame) - fault.size)]
        case FaultKind.GARBAGE_BEFORE:
            return generator.randbytes(fault.size) + frame
        case FaultKind.GARBAGE_AFTER:
            return frame + generator.randbytes(fault.size)
        case FaultKind.ECHO:
            return request_frame + frame
        case _:
            return frame


def _other_function(function: int) -> int:
    """Another function whose reply has the same shape, so that only a check of the function finds it."""
    swapped = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 15: 16, 16: 15}
    return swapped.get(function & 0x7F, 3) | (function & 0x80)


def _other_count(data: bytes, registers: int) -> bytes:
    function = data[0]
    if function in READ_TABLES:
        cells = data[2:]
        size = registers * (2 if function in (3, 4) else 1)
        cells = cells + bytes(size) if size > 0 else cells[: max(0, len(cells) + size)]
        return bytes((function, len(cells))) + cells
    if function in (15, 16):
        count = int.from_bytes(data[3:5]) + registers
        return data[:3] + max(0, count).to_bytes(2)
    return data


def _with_words(data: bytes, word: bytes) -> bytes:
    if data[0] not in (3, 4):
        return data
    return data[:2] + word * (data[1] // 2)
