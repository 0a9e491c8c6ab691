"""The lines that a balance sends, whole and damaged.

Source: Mettler-Toledo, MT-SICS Interface Command reference: the weight is right-aligned in ten characters.
"""

import random

from lms_firmware_sim.wires.faults import Fault, FaultKind


def weight_line(head: str, weight_g: float, decimals: int) -> str:
    """A weight reply without its line end, such as `S S     100.00 g`."""
    return f"{head} {weight_g + 0.0:10.{decimals}f} g"


def balance_faults(fault: Fault, heard: bytes, line: bytes, generator: random.Random) -> bytes:
    """The line as it comes off an ill balance or cable; empty for silence.

    The line has no check sum: BAD_CRC turns one bit of a digit. WRONG_UNIT answers in pounds, WRONG_FUNCTION answers
    another command, WRONG_COUNT leaves the last field out.
    """
    match fault.kind:
        case FaultKind.SILENCE:
            return b""
        case FaultKind.TRUNCATED:
            return line[: max(0, len(line) - fault.size)]
        case FaultKind.GARBAGE_BEFORE:
            return generator.randbytes(fault.size) + line
        case FaultKind.GARBAGE_AFTER:
            return line + generator.randbytes(fault.size)
        case FaultKind.ECHO:
            return heard + line
        case FaultKind.BUSY:
            return line.split(b" ", 1)[0].rstrip() + b" I\r\n"
        case FaultKind.OUT_OF_RANGE:
            return b"S +\r\n"
        case FaultKind.NOT_A_NUMBER:
            return b"S S ---------- g\r\n"
        case FaultKind.WRONG_UNIT:
            return line.replace(b" g\r\n", b" lb\r\n")
        case FaultKind.WRONG_FUNCTION:
            return b"Z A\r\n"
        case FaultKind.WRONG_COUNT:
            return line.rstrip().rsplit(b" ", 1)[0] + b"\r\n"
        case FaultKind.BAD_CRC:
            return bytes(byte ^ 0x40 if byte in b"0123456789" else byte for byte in line)
        case _:
            return line
