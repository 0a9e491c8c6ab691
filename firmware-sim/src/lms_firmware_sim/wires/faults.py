"""What can be wrong with an instrument or its cable, switchable while a wire runs.

A `Fault` only says what is wrong; each wire knows how that looks in its own frames (`modbus_faults`, `text_faults`).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self


class FaultKind(StrEnum):
    """The kinds of fault; the value is the name on the command line."""

    SILENCE = "silence"
    LATE = "late"
    BAD_CRC = "bad-crc"
    TRUNCATED = "truncated"
    GARBAGE_BEFORE = "garbage-before"
    GARBAGE_AFTER = "garbage-after"
    WRONG_UNIT = "wrong-unit"
    WRONG_FUNCTION = "wrong-function"
    WRONG_COUNT = "wrong-count"
    STUCK = "stuck"
    OUT_OF_RANGE = "out-of-range"
    NOT_A_NUMBER = "not-a-number"
    UNPLUGGED = "unplugged"
    SLOW_BYTES = "slow-bytes"
    BUSY = "busy"
    ECHO = "echo"
    SHIFTED = "shifted"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a wire. Make one with the constructor of its kind: `Fault.late(0.2, unit=3, share=0.25)`.

    Attributes:
        kind: what is wrong.
        delay_s: LATE: how late the reply comes. SLOW_BYTES: time between two bytes.
        size: TRUNCATED: bytes cut off the end. GARBAGE_*: bytes of garbage. WRONG_COUNT: registers more (or, if
            negative, fewer) than asked for.
        unit: only this unit is ill (a Modbus unit or pump number, an Alicat letter); None: all of them. A cable
            (UNPLUGGED) has no unit.
        share: share of the replies that are ill, drawn from the wire's seeded generator.
        times: ill replies until the fault has passed; None: until it is switched off.
    """

    kind: FaultKind
    delay_s: float = 0.0
    size: int = 0
    unit: int | str | None = None
    share: float = 1.0
    times: int | None = None

    @classmethod
    def of(
        cls,
        kind: FaultKind | str,
        *,
        delay_s: float | None = None,
        size: int | None = None,
        unit: int | str | None = None,
        share: float = 1.0,
        times: int | None = None,
    ) -> Self:
        """A fault of any kind, with the kind's usual size and delay where none is given.

        Raises:
            ValueError: the kind is unknown.
        """
        if kind not in set(FaultKind):
            raise ValueError(f"fault {kind!r} is not known; allowed are {', '.join(FaultKind)}")
        kind = FaultKind(kind)
        usual_delay = {FaultKind.LATE: 0.5, FaultKind.SLOW_BYTES: 1.0}.get(kind, 0.0)
        usual_size = {
            FaultKind.TRUNCATED: 3,
            FaultKind.GARBAGE_BEFORE: 5,
            FaultKind.GARBAGE_AFTER: 5,
            FaultKind.WRONG_COUNT: -1,
        }.get(kind, 0)
        return cls(
            kind,
            delay_s=usual_delay if delay_s is None else delay_s,
            size=usual_size if size is None else size,
            unit=unit,
            share=share,
            times=times,
        )

    @classmethod
    def silence(cls, *, unit: int | str | None = None, share: float = 1.0, times: int | None = None) -> Self:
        """No reply at all."""
        return cls.of(FaultKind.SILENCE, unit=unit, share=share, times=times)

    @classmethod
    def late(
        cls, delay_s: float, *, unit: int | str | None = None, share: float = 1.0, times: int | None = None
    ) -> Self:
        """A right reply, but late."""
        return cls.of(FaultKind.LATE, delay_s=delay_s, unit=unit, share=share, times=times)

    @classmethod
    def bad_crc(cls, *, unit: int | str | None = None, share: float = 1.0, times: int | None = None) -> Self:
        """A flipped bit in the check sum (Modbus TCP has none: there the protocol identifier is wrong)."""
        return cls.of(FaultKind.BAD_CRC, unit=unit, share=share, times=times)

    @classmethod
    def truncated(
        cls, size: int = 3, *, unit: int | str | None = None, share: float = 1.0, times: int | None = None
    ) -> Self:
        """The last `size` bytes of the reply are missing."""
        return cls.of(FaultKind.TRUNCATED, size=size, unit=unit, share=share, times=times)

    @classmethod
    def garbage_before(cls, size: int = 5, *, share: float = 1.0, times: int | None = None) -> Self:
        """Noise on the line just before the reply."""
        return cls.of(FaultKind.GARBAGE_BEFORE, size=size, share=share, times=times)

    @classmethod
    def garbage_after(cls, size: int = 5, *, share: float = 1.0, times: int | None = None) -> Self:
        """Noise on the line just after the reply."""
        return cls.of(FaultKind.GARBAGE_AFTER, size=size, share=share, times=times)

    @classmethod
    def unplugged(cls) -> Self:
        """The cable is out: the terminal hangs up, the socket refuses."""
        return cls.of(FaultKind.UNPLUGGED)

    @classmethod
    def busy(cls, *, unit: int | str | None = None, share: float = 1.0, times: int | None = None) -> Self:
        """The instrument says that it is busy (Modbus exception 6; `S I`)."""
        return cls.of(FaultKind.BUSY, unit=unit, share=share, times=times)

    @classmethod
    def shifted(cls, *, unit: int | str | None = None) -> Self:
        """Every reply answers the request before: the first request after the switch gets none."""
        return cls.of(FaultKind.SHIFTED, unit=unit)

    def concerns(self, unit: int | str | None) -> bool:
        """Whether the fault can show in a reply of this unit."""
        return self.unit is None or unit is None or self.unit == unit

    def after_one_more(self) -> Self | None:
        """The fault once one more reply has been ill; None when it has passed."""
        if self.times is None:
            return self
        return replace(self, times=self.times - 1) if self.times > 1 else None
