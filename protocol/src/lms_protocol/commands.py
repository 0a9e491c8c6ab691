"""Set-point commands: what one says, whether it may be carried out, and what is told of it.

    who            says it as
    ─────────────  ─────────────────────────────────────────────────────────────────────────────────────────────
    a host         DCMD with the tag's metric and, beside it, `Sync/Command`: who, why and until when it is valid
    another host   DCMD with the tag's metric alone: taken only where the agent's settings say so
    the bench      `lms-agent set`

Whatever becomes of a command is told as a reading of the tag `Events/Command` of its bioreactor, which goes through the
log like any other. A command is void after its lifetime: wherever it waited, it is never carried out late.

Neighbours: `lms_protocol.command_book` is the life of a command; `lms_protocol.edge` reads DCMDs; `lms_agent.commands`
carries out.
"""

import json
import math
import struct
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from lms_protocol.errors import PayloadError
from lms_protocol.messages import COMMAND_NAME, Publish
from lms_protocol.reading import Datatype, TagDescription, Value
from lms_protocol.sparkplug import Metric, Payload, encode, fits
from lms_protocol.topics import MessageType, node_topic

EVENT_TAG: Final = "Events/Command"
"""The tag of a bioreactor that tells what became of commands to it."""
MAX_ID: Final = 64
MAX_WORDS: Final = 200
MAX_VALUE: Final = 1000
"""Characters of a text to be set."""

_ROUNDING: Final = 1e-6  # of a value: what 32 bits, or an instrument's scale, make of it


class Source(StrEnum):
    """Where a command comes from."""

    BENCH = "bench"
    REMOTE = "remote"


class State(StrEnum):
    """How far a command has got; all but the first are its end.

    BEGUN: it may be carried out, and that is in the log; nothing is sent yet, or no answer has come yet.
    DONE: the instrument has confirmed it, and holds what was to be set.
    REFUSED: it was not carried out.
    EXPIRED: it was not carried out, as its lifetime was over.
    NOT_CONFIRMED: it may or may not have been carried out.
    """

    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"
    NOT_CONFIRMED = "not confirmed"


class LockState(StrEnum):
    """What is told when a bioreactor is locked at the bench, and unlocked."""

    LOCKED = "locked"
    UNLOCKED = "unlocked"


class Note(NamedTuple):
    """What stands in `Sync/Command` beside the tag's metric.

    Attributes:
        id: of this command alone, of all commands ever; 1 to 64 characters.
        by: who wants it.
        reason: why.
        valid_until_ms: after this instant it is void, ms UTC.
    """

    id: str
    by: str
    reason: str
    valid_until_ms: int

    def to_text(self) -> str:
        """As it stands in the metric."""
        return _text(self._asdict())

    @classmethod
    def from_text(cls, text: object) -> Self:
        """Read what stands in the metric; keys that are not known mean nothing.

        Raises:
            PayloadError: it is not in its form.
        """
        try:
            data = json.loads(text) if isinstance(text, str) else None
            note = cls(data["id"], data["by"], data["reason"], data["valid_until_ms"])  # type: ignore[index]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise PayloadError(
                f"{str(text)[:120]!r} lacks id, by, reason or valid_until_ms", metric=COMMAND_NAME
            ) from error
        for name, words, longest in (
            ("id", note.id, MAX_ID),
            ("by", note.by, MAX_WORDS),
            ("reason", note.reason, MAX_WORDS),
        ):
            if flaw := flaw_of(words, longest):
                raise PayloadError(f"{name} {flaw}", metric=COMMAND_NAME)
        if type(note.valid_until_ms) is not int:
            raise PayloadError(f"valid_until_ms {note.valid_until_ms!r} is no instant in ms", metric=COMMAND_NAME)
        return note


def flaw_of(words: object, longest: int) -> str:
    """What keeps a text from naming a person, a reason or a command; "" if nothing does."""
    if not isinstance(words, str) or not words.strip():
        return "says nothing"
    if len(words) > longest:
        return f"has more than {longest} characters"
    return "" if words.isprintable() else "holds characters that cannot be shown"


@dataclass(frozen=True, slots=True)
class SetPoint:
    """A wish to set one tag.

    Attributes:
        id: of this command alone, of all commands ever.
        device, tag: which tag of which bioreactor.
        value: in the tag's unit.
        by, reason: who wants it and why.
        issued_at_ms, valid_until_ms: its lifetime, ms UTC.
    """

    id: str
    device: str
    tag: str
    value: Value
    by: str
    reason: str
    source: Source
    issued_at_ms: int
    valid_until_ms: int

    def valid_from(self, now_ms: int, lifetime_ms: int) -> "SetPoint":
        """The same command, issued now."""
        return replace(self, issued_at_ms=now_ms, valid_until_ms=now_ms + lifetime_ms)


class Limits(NamedTuple):
    """What may be set at all.

    Attributes:
        datatype: of the tag's values.
        writable: whether it may be set.
        low, high: the lowest and highest value, in the tag's unit; None where there is none.
        largest_step: by how much one command may change the value; None: by any.
        interval_ms: how long after one command the next may come.
    """

    datatype: Datatype = Datatype.DOUBLE
    writable: bool = True
    low: float | None = None
    high: float | None = None
    largest_step: float | None = None
    interval_ms: int = 0


class Rules(NamedTuple):
    """What holds for all commands from hosts.

    Attributes:
        remote: whether any are taken.
        longest_lifetime_ms: a command that would be valid for longer is refused.
        skew_ms: how far a host's clock may be ahead of the agent's.
    """

    remote: bool = True
    longest_lifetime_ms: int = 600_000
    skew_ms: int = 10_000


class Lock(NamedTuple):
    """A bioreactor is locked at the bench: no host may set anything there.

    Attributes:
        by, why: who locked it, and why.
        since_ms: ms UTC.
    """

    by: str
    why: str
    since_ms: int


class Facts(NamedTuple):
    """How things stand at a moment.

    Attributes:
        now_ms: the agent's time, ms UTC.
        clock_trusted: whether that is known to be right.
        lock: of the bioreactor; None if there is none.
        present: the tag's newest known value; None if there is none.
        last_sent_at_ms: when the tag was set last; None: not in living memory.
    """

    now_ms: int
    clock_trusted: bool = True
    lock: Lock | None = None
    present: Value = None
    last_sent_at_ms: int | None = None


class Refusal(NamedTuple):
    """Why a command is not carried out: REFUSED or EXPIRED, and a sentence."""

    state: State
    why: str


def as_value(value: Value, datatype: Datatype) -> Value:
    """The value in the type that the tag has; a whole number is a good Double, and 3.0 a good whole number.

    Raises:
        PayloadError: it cannot be of that type.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise PayloadError(f"{value!r} is no number that can be set")
    fit: Value = value
    if datatype in (Datatype.DOUBLE, Datatype.FLOAT) and isinstance(value, int) and not isinstance(value, bool):
        fit = _as_float(value)
    elif datatype in (Datatype.INT64, Datatype.UINT64) and isinstance(value, float) and value.is_integer():
        fit = int(value)
    if datatype is Datatype.FLOAT and isinstance(fit, float):
        fit = _as_single(fit)
    if fit is None or not fits(fit, datatype) or (isinstance(fit, str) and len(fit) > MAX_VALUE):
        raise PayloadError(f"{str(value)[:80]!r} is no {datatype.name} value")
    return fit


def refusal(command: SetPoint, limits: Limits, facts: Facts, rules: Rules) -> Refusal | None:
    """Why a command may not be carried out now; None if it may.

    What comes from the bench is bound to lifetime, range and rate, too; but it needs no trusted clock, since the
    agent's own clock gave it its lifetime, and no lock keeps it out.
    """
    if not limits.writable:
        return Refusal(State.REFUSED, f"{command.tag} of {command.device} cannot be set")
    if command.source is Source.REMOTE and (why := _not_for_hosts(command, facts, rules)):
        return Refusal(State.REFUSED, why)
    if facts.now_ms > command.valid_until_ms:
        late_s = (facts.now_ms - command.valid_until_ms) / 1000
        return Refusal(State.EXPIRED, f"its lifetime was over {late_s:.1f} s before")
    why = _beyond_limits(command, limits, facts)
    return Refusal(State.REFUSED, why) if why else None


def _not_for_hosts(command: SetPoint, facts: Facts, rules: Rules) -> str:
    if not rules.remote:
        return "this agent's settings take no commands from hosts"
    if facts.lock is not None:
        return f"{command.device} is locked at the bench by {facts.lock.by}: {facts.lock.why}"
    if not facts.clock_trusted:
        return "the agent does not know the time for sure, and so not whether the command is still valid"
    if command.issued_at_ms > facts.now_ms + rules.skew_ms:
        ahead_s = (command.issued_at_ms - facts.now_ms) / 1000
        return f"it was issued {ahead_s:.1f} s in the future: the clocks of host and agent differ"
    if command.valid_until_ms - command.issued_at_ms > rules.longest_lifetime_ms:
        longest_s = rules.longest_lifetime_ms / 1000
        return f"a command may be valid for {longest_s:g} s at most"
    return ""


def _beyond_limits(command: SetPoint, limits: Limits, facts: Facts) -> str:
    try:
        value = as_value(command.value, limits.datatype)
    except PayloadError as error:
        return error.reason
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = _limit(limits.low, limits), _limit(limits.high, limits)
        if low is not None and value < low:
            return f"{value:g} is below the lowest that may be set, {limits.low:g}"
        if high is not None and value > high:
            return f"{value:g} is above the highest that may be set, {limits.high:g}"
        if limits.largest_step is not None and (why := _too_far(value, facts.present, limits.largest_step)):
            return why
    since_ms = None if facts.last_sent_at_ms is None else facts.now_ms - facts.last_sent_at_ms
    if since_ms is not None and 0 <= since_ms < limits.interval_ms:
        return f"it was set {since_ms / 1000:.1f} s ago, and may be set every {limits.interval_ms / 1000:g} s"
    return ""


def _limit(limit: float | None, limits: Limits) -> float | None:
    """A limit, as exact as the tag's values are: 37.2 must not be above 37.2 because 32 bits hold it so."""
    return limit if limit is None or limits.datatype is not Datatype.FLOAT else _as_single(limit)


def _too_far(value: float, present: Value, largest_step: float) -> str:
    if not isinstance(present, int | float) or isinstance(present, bool) or not math.isfinite(present):
        return f"its present value is not known, and one command may change it by {largest_step:g} at most"
    if abs(value - present) > largest_step + _ROUNDING * max(abs(value), abs(present)):
        return f"one command may change it by {largest_step:g} at most, from {present:g}"
    return ""


@dataclass(frozen=True, slots=True)
class CommandEvent:
    """What a reading of `Events/Command` says, as JSON.

    Attributes:
        id: the command's; of a lock, one of its own.
        state: how far it has got, or that the bioreactor was locked or unlocked.
        at_ms: since when, ms UTC; the reading may be a little later.
        tag, value: what was to be set; None of a lock.
        by, reason: who and why.
        source: from the bench, or from a host.
        issued_at_ms, valid_until_ms: the command's lifetime, ms UTC; None of a lock.
        why: why it was refused, has expired or is not confirmed; "" where there is nothing to say.
        read_back: what the instrument was found to hold; None if that was not, or could not be, read.
        account: the user of the computer whose process asked, at the bench; "" otherwise.
    """

    id: str
    state: State | LockState
    at_ms: int
    by: str
    reason: str
    source: Source
    tag: str | None = None
    value: Value = None
    issued_at_ms: int | None = None
    valid_until_ms: int | None = None
    why: str = ""
    read_back: Value = None
    account: str = ""

    def to_text(self) -> str:
        """As it stands in the reading."""
        data = asdict(self)
        return _text(data | {"value": _plain(self.value), "read_back": _plain(self.read_back)})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what stands in a reading; keys that are not known mean nothing.

        Raises:
            PayloadError: it is not in its form.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            known = {name: data[name] for name in cls.__slots__ if name in data}
            state = known["state"]
            known["state"] = LockState(state) if state in list(LockState) else State(state)
            return cls(**(known | {"source": Source(known["source"])}))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise PayloadError(f"{text[:120]!r} tells of no command") from error


def command_message(
    group: str, node: str, tag: TagDescription, value: Value, *, note: Note, now_ms: int, by_name: bool = False
) -> Publish:
    """The DCMD by which a host has a tag set.

    Args:
        tag: as its birth described it; its number is its alias.
        now_ms: the host's time; the command is issued then.
        by_name: name the metric, for tags that have no alias.

    Raises:
        PayloadError: the value is not of the tag's type.
        TopicError: an id may not be part of a topic.
    """
    metric = Metric(
        name=tag.name if by_name else None,
        alias=None if by_name else tag.number,
        timestamp_ms=now_ms,
        datatype=int(tag.datatype),
        value=as_value(value, tag.datatype),
    )
    said = Metric(COMMAND_NAME, timestamp_ms=now_ms, datatype=int(Datatype.STRING), value=note.to_text())
    topic = node_topic(group, MessageType.DCMD, node, tag.device)
    return Publish(topic, encode(Payload(now_ms, [metric, said])))


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Value) -> Value:
    """JSON has no NaN and no infinities: they become text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise PayloadError(f"{str(value)[:80]} is too large") from None


def _as_single(value: float) -> float:
    """The nearest value that 32 bits hold: that is what an instrument can be set to."""
    try:
        single: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        raise PayloadError(f"{value:g} is too large for 32 bits") from None
    return single
