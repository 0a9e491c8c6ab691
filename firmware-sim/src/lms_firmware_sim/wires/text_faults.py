"""How a fault looks on a text line: what an ill instrument says, and what an ill cable makes of it.

No dialect here has a check sum, so that BAD_CRC turns one bit of every digit: nothing but the form of a number can
tell. What an instrument of a dialect says when it is ill (another unit, another command's reply) is the dialect's own
(`TextInstrument.spoiled`).
"""

import random

from lms_firmware_sim.wires.faults import Fault, FaultKind


def damage_text(fault: Fault | None, heard: bytes, reply: bytes, generator: random.Random) -> bytes:
    """The reply as it comes off an ill line; empty for silence.

    Args:
        fault: what is wrong; None: nothing.
        heard: the command with its line end, for an echo.
        reply: the whole reply, with its line ends.
        generator: draws the garbage.
    """
    if fault is None:
        return reply
    match fault.kind:
        case FaultKind.SILENCE:
            return b""
        case FaultKind.TRUNCATED:
            return reply[: max(0, len(reply) - fault.size)]
        case FaultKind.GARBAGE_BEFORE:
            return generator.randbytes(fault.size) + reply
        case FaultKind.GARBAGE_AFTER:
            return reply + generator.randbytes(fault.size)
        case FaultKind.ECHO:
            return heard + reply
        case FaultKind.BAD_CRC:
            return bytes(byte ^ 0x40 if byte in b"0123456789" else byte for byte in reply)
        case _:
            return reply


def without_last_field(line: str, separator: str = " ") -> str:
    """A line that lacks its last field: how WRONG_COUNT looks in most dialects."""
    return line.rsplit(separator, 1)[0]
