"""Readings, the tags they belong to, and the batches they travel in.

A reading's way: an instrument's reply becomes `Reading`s (agent drivers), one scan's readings become a `Batch`
(agent log), a batch becomes a Sparkplug payload (`lms_protocol.delivery`) and, in the cloud, rows.

Time on this way is an integer: milliseconds since 1970-01-01T00:00Z, which is the resolution of Sparkplug B.
Carrying the integer, rather than a datetime, is what makes "bit-equal from log to database" a plain comparison.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

Value: TypeAlias = float | int | bool | str | None
"""What a tag can hold. `None`: no value could be had (quality says why)."""


class Quality(IntEnum):
    """How far a value can be trusted, in the codes that Sparkplug hosts know from OPC.

    BAD, GOOD and STALE are Sparkplug's own; UNCERTAIN is OPC's 64: a value was read, but it is outside the
    instrument's range, or the instrument flags it.
    """

    BAD = 0
    UNCERTAIN = 64
    GOOD = 192
    STALE = 500


class Datatype(IntEnum):
    """The Sparkplug B data types that a tag can have (codes of the specification's section 6.4.16)."""

    INT64 = 4
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


class Reading(NamedTuple):
    """One value of one tag.

    Attributes:
        tag: the tag's number in the agent's log; its Sparkplug alias.
        taken_at_ms: when the reply that held the value arrived, ms UTC.
        value: in the tag's unit; None where no value could be had.
        quality: how far to trust it.
    """

    tag: int
    taken_at_ms: int
    value: Value
    quality: Quality = Quality.GOOD


NOT_FOR_SCREENS: Final = ("Sync/", "Events/")
"""So begin the names of tags that hold no values to be watched: what delivery needs, and events, as JSON."""
NOT_RUNNING: Final = "the agent was not running"
"""So begins the reason of a gap in which the agent read nothing at all: no log holds anything of that time."""


class Gap(NamedTuple):
    """An interval in which tags were due but nothing was read, and why.

    Attributes:
        id: unique in the stream; the same gap is told twice, when it opens and when it closes.
        tags: numbers of the tags that miss readings.
        began_at_ms: time of the last reading before it, or of the first failure, ms UTC.
        ended_at_ms: time of the first reading after it, ms UTC; None while it is open.
        reason: a sentence, such as "no reply from unit 3 on /dev/ttyUSB0 within 0.3 s".
    """

    id: int
    tags: tuple[int, ...]
    began_at_ms: int
    ended_at_ms: int | None
    reason: str


class ClockRecord(NamedTuple):
    """What the agent's clock was like when a batch was logged, and stays like until another record says otherwise.

    The agent's time is the time since boot, which never steps, plus an offset. So the offset gives the time since boot
    of every reading: `taken_at_ms - offset_ms`.

    Attributes:
        boot: the kernel's id of this boot.
        offset_ms: the agent's time minus the time since boot, ms.
        trusted: whether the time was known to be right.
        error_ms: how far the system's clock then was ahead of the agent's time, ms; None if that is not known.
        correction_ms: by how much the offset was changed with this record, ms.
        estimated: whether the time is only an estimate, because the power went before it was known.
    """

    boot: UUID
    offset_ms: int
    trusted: bool
    error_ms: int | None = None
    correction_ms: int = 0
    estimated: bool = False


class Origin(NamedTuple):
    """Where a batch was first logged that had to be logged anew: another batch was committed under its number there.

    Attributes:
        stream: the log, the first of them if it was logged anew several times.
        number: the batch's number in it.
        logged: what it was when it was logged there, if its times were corrected since; see `Batch`.
    """

    stream: UUID
    number: int
    logged: bytes | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The readings of one scan of one bioreactor: one record of the log, sent and acknowledged as a whole.

    Attributes:
        number: 1, 2, 3 … without holes, in one stream.
        device: the bioreactor's wire id.
        readings: in the order taken.
        gaps: gaps that opened or closed with this scan.
        clock: the agent's clock, in the first batch after it has changed.
        origin: where it was logged first, of a batch that was logged anew.
        logged: of a batch whose times could still be corrected once it was logged: a fingerprint (16 bytes) of what it
            was then, and in which boot; the same in every copy of the log, whatever its times became there.
    """

    number: int
    device: str
    readings: tuple[Reading, ...]
    gaps: tuple[Gap, ...] = ()
    clock: ClockRecord | None = None
    origin: Origin | None = None
    logged: bytes | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class TagDescription:
    """What is known of a tag before any reading of it; travels in the birth.

    Attributes:
        number: its number in the agent's log; the Sparkplug alias. Never used again for another tag.
        device: the bioreactor's wire id.
        name: such as `pH/PV`, `pH/SP`, `pH/OUT`.
        datatype: of its values.
        unit: UCUM-like short form as shown to people (`°C`, `%`, `L/min`); "" for none.
        low, high: the normal range in `unit`, where known.
        decimals: digits after the point that the instrument really has, where known.
        access: whether a set point may be written.
    """

    number: int
    device: str
    name: str
    datatype: Datatype = Datatype.DOUBLE
    unit: str = ""
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    access: Literal["read", "write"] = field(default="read")
