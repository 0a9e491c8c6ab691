"""The rules by which the agent's time follows the computer's clock, without I/O.

The agent's time is the time since boot, which never steps, plus an offset. Readings of a boot are *open* while none of
them has been sent: their time may still be corrected, all by the same shift, so that their intervals stay true. Once
sent, a reading never changes.

    trust       meaning                                              readings of this boot
    ──────────  ───────────────────────────────────────────────────  ─────────────────────────────────────────
    waiting     just booted, synchronisation may come any moment     open, held back from sending
    wrong       the clock says what cannot be                        open, held back from sending
    untrusted   plausible, but not synchronised                      open until the first of them is sent
    trusted     synchronised, and the agent's time agrees            final

    from        event                                                    then
    ──────────  ───────────────────────────────────────────────────────  ──────────────────────────────────────────
    any, open   the clock is synchronised                                trusted; open readings are corrected
    waiting     `wait_s` after the boot it still is not                  untrusted
    wrong       the clock is plausible, and stays so for `persist_s`     untrusted; open readings are corrected
    untrusted   open, and the clock was set to something plausible       untrusted; open readings are corrected
    any, final  synchronised and ahead of the agent for `persist_s`      trusted; the offset grows from here on
    any, final  synchronised and behind the agent for `persist_s`        untrusted; the offset stays, the error is known
    any, final  synchronised and no error                                trusted
    trusted     not synchronised for `distrust_after_s`                  untrusted; the offset stays
    any, final  not synchronised and stepped                             nothing: nobody vouches for the step

Neighbours: `lms_agent.timekeeping.timekeeper` feeds it; the tests put it through any sequence of steps.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

RELEASED_MS = 1_793_491_200_000
"""2026-11-01T00:00Z, before this release was made: no clock that says less can be right."""


class Trust(StrEnum):
    """How far the agent's time is known to be right; see the module's table."""

    WAITING = "waiting"
    WRONG = "wrong"
    UNTRUSTED = "untrusted"
    TRUSTED = "trusted"


class Observation(NamedTuple):
    """What the computer says at one moment.

    Attributes:
        boot_ms: time since boot, ms; runs in suspend too, never steps.
        system_ms: the system clock, ms UTC; may say anything.
        synchronised: whether that clock follows a time server or receiver; None where nobody can tell.
    """

    boot_ms: int
    system_ms: int
    synchronised: bool | None


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers in the rules.

    Attributes:
        wait_s: how long after the boot to wait for synchronisation before readings are sent without it.
        persist_s: how long a step must last before it is believed.
        tolerance_ms: how far two clocks may differ that count as equal.
        floor_ms: no clock that says less can be right, ms UTC.
        order_limit_ms: a synchronised clock that is this much behind the log's newest reading, after a boot, proves
            that reading's time wrong; one that is less behind must wait until order is kept.
        distrust_after_s: how long a clock stays trusted that is not synchronised any more.
    """

    wait_s: float = 60.0
    persist_s: float = 30.0
    tolerance_ms: int = 20
    floor_ms: int = RELEASED_MS
    order_limit_ms: int = 7_200_000
    distrust_after_s: float = 3600.0


class Memory(NamedTuple):
    """What the log remembers of the boot that is still going on.

    Attributes:
        offset_ms: agent's time minus time since boot, ms.
        trust: how far it was known to be right.
        error_ms: system clock minus agent's time, as far as known, ms.
        began_ms: the earliest agent's time that an open reading of this boot can have; None if none is open.
    """

    offset_ms: int
    trust: Trust
    error_ms: int | None
    began_ms: int | None


class Past(NamedTuple):
    """What the log says of the time before this boot.

    Attributes:
        newest_ms: the newest time in it, ms UTC.
        earliest_ms: the earliest that the first reading of this boot may get so that order is kept: behind all final
            readings, and with room for those of earlier boots that wait for their place. Never above `newest_ms` + 1
            unless those need it.
        pending: whether readings of earlier boots wait for their place.
    """

    newest_ms: int
    earliest_ms: int
    pending: bool


NOTHING_BEFORE = Past(newest_ms=0, earliest_ms=0, pending=False)


class Change(NamedTuple):
    """Something to write down: from the next batch on the clock is like this.

    Attributes:
        offset_ms, trust, error_ms: as they are now.
        open: whether readings of this boot may still be corrected.
        correction_ms: by how much the offset has grown, from the next batch on.
        shift_ms: by how much the time of all open readings of this boot is to be corrected.
        places_past: readings of earlier boots that wait for their place get it now, before this boot.
        reason: a sentence for people.
    """

    offset_ms: int
    trust: Trust
    error_ms: int | None
    open: bool
    reason: str
    correction_ms: int = 0
    shift_ms: int = 0
    places_past: bool = False


class _Step(NamedTuple):
    """A difference between the clocks that must last before it is believed."""

    difference_ms: int
    synchronised: bool
    since_ms: int


class Discipline:
    """The agent's time in one boot of the computer.

    Args:
        rules: the numbers.
        first: what the computer says now.
        past: what the log says of the time before this boot.
        memory: what the log remembers of this boot; None if it has just begun, or the agent is new.

    Attributes:
        offset_ms, trust, error_ms, open: as in `Change`.
        started: the first thing to write down.
    """

    offset_ms: int
    trust: Trust
    error_ms: int | None
    open: bool

    def __init__(self, rules: Rules, first: Observation, past: Past, memory: Memory | None = None) -> None:
        self._rules = rules
        self._past = past
        self._step: _Step | None = None
        self._unsynchronised_since_ms: int | None = None
        if memory is None:
            self.started = self._begin(first)
        else:
            self.started = self._resume(first, memory)

    def time_ms(self, boot_ms: int) -> int:
        """The agent's time at a time since boot; ms UTC."""
        return boot_ms + self.offset_ms

    @property
    def holds(self) -> bool:
        """Whether readings of this boot, and those that wait for their place, are held back from sending."""
        return self.trust in (Trust.WAITING, Trust.WRONG)

    def settle(self) -> Change | None:
        """The first open reading is about to be sent: from now on their time is final."""
        if not self.open or self.holds:
            return None
        self.open = False
        return self._change("readings are being sent; their time is final from now on")

    def restate(self) -> Change:
        """How the clock is, for a log that does not know it yet."""
        return self._change("a new log begins")

    def observe(self, seen: Observation) -> Change | None:
        """Look at the computer's clock. Call it about once a second."""
        self._follow(seen)
        return self._observe_open(seen) if self.open else self._observe_final(seen)

    def _begin(self, seen: Observation) -> Change:
        self.offset_ms = seen.system_ms - seen.boot_ms
        self.error_ms = None
        self.open = True
        self._least_offset_ms = self._past.earliest_ms - seen.boot_ms
        self._follow(seen)
        if seen.synchronised and seen.system_ms >= self._rules.floor_ms:
            return self._trust_at_last(seen, "the clock is synchronised")
        if not self._plausible(seen):
            self.trust = Trust.WRONG
            self.offset_ms = max(seen.system_ms, self._rules.floor_ms, self._past.newest_ms + 1) - seen.boot_ms
            return self._change("the clock is wrong: it is before this release or before the log's newest reading")
        if seen.synchronised is False and seen.boot_ms < 1000 * self._rules.wait_s:
            self.trust = Trust.WAITING
            return self._change("the computer has just booted; waiting for its clock to be synchronised")
        self.trust = Trust.UNTRUSTED
        return self._place_past(self._change("the clock is not synchronised", places_past=True))

    def _resume(self, seen: Observation, memory: Memory) -> Change:
        self.offset_ms, self.trust, self.error_ms = memory.offset_ms, memory.trust, memory.error_ms
        self.open = memory.began_ms is not None
        began_boot_ms = seen.boot_ms if memory.began_ms is None else memory.began_ms - memory.offset_ms
        self._least_offset_ms = self._past.earliest_ms - began_boot_ms
        return self._change("the agent has started again in the same boot")

    def _observe_open(self, seen: Observation) -> Change | None:
        if seen.synchronised and seen.system_ms >= self._rules.floor_ms:
            if self._lasts(seen, 0.0):
                return self._trust_at_last(seen, "the clock is synchronised now")
            return None
        waited = seen.synchronised is None or seen.boot_ms >= 1000 * self._rules.wait_s
        if not self._plausible(seen):
            self._step = None
        elif self.trust is Trust.WRONG or abs(self._difference(seen)) > self._rules.tolerance_ms:
            if self._lasts(seen, self._rules.persist_s) and waited:
                return self._distrust_at_last(seen)
            return None
        else:
            self._step = None
        if self.trust is Trust.WAITING and waited:
            self.trust = Trust.UNTRUSTED
            return self._place_past(self._change("the clock is still not synchronised", places_past=True))
        return None

    def _observe_final(self, seen: Observation) -> Change | None:
        if not seen.synchronised or seen.system_ms < self._rules.floor_ms:
            self._step = None
            lost_for_ms = seen.boot_ms - (self._unsynchronised_since_ms or seen.boot_ms)
            if self.trust is Trust.TRUSTED and lost_for_ms >= 1000 * self._rules.distrust_after_s:
                self.trust = Trust.UNTRUSTED
                return self._change("the clock has not been synchronised for long")
            return None
        difference_ms = self._difference(seen)
        if abs(difference_ms) <= self._rules.tolerance_ms:
            self._step = None
            if self.trust is Trust.TRUSTED:
                return None
            self.trust, self.error_ms = Trust.TRUSTED, 0
            return self._change("the clock is synchronised, and the agent's time agrees with it")
        if not self._lasts(seen, self._rules.persist_s):
            return None
        if difference_ms > 0:
            self.offset_ms += difference_ms
            self.trust, self.error_ms = Trust.TRUSTED, 0
            return self._change("the synchronised clock has gone ahead", correction_ms=difference_ms)
        if self.error_ms is not None and abs(self.error_ms - difference_ms) <= self._rules.tolerance_ms:
            return None  # known already
        self.trust, self.error_ms = Trust.UNTRUSTED, difference_ms
        return self._change("the synchronised clock has gone back; the agent's time never does")

    def _trust_at_last(self, seen: Observation, reason: str) -> Change:
        """The time is known: open readings get it."""
        wanted_ms = seen.system_ms - seen.boot_ms
        behind_ms = self._least_offset_ms - wanted_ms
        offset_ms = wanted_ms
        if 0 < behind_ms <= self._rules.order_limit_ms:
            offset_ms = self._least_offset_ms
            reason += ", but behind the log's newest reading; the agent's time stays ahead to keep order"
        shift_ms, self.offset_ms = offset_ms - self.offset_ms, offset_ms
        self.error_ms = wanted_ms - offset_ms
        self.trust = Trust.TRUSTED if abs(self.error_ms) <= self._rules.tolerance_ms else Trust.UNTRUSTED
        self.open = False
        self._step = None
        return self._place_past(self._change(reason, shift_ms=shift_ms, places_past=True))

    def _distrust_at_last(self, seen: Observation) -> Change:
        """A plausible time, though nobody vouches for it: open readings get it and stay open."""
        offset_ms = max(seen.system_ms - seen.boot_ms, self._least_offset_ms)
        shift_ms, self.offset_ms = offset_ms - self.offset_ms, offset_ms
        self.trust = Trust.UNTRUSTED
        self._step = None
        change = self._change("the clock was set, but is not synchronised", shift_ms=shift_ms, places_past=True)
        return self._place_past(change)

    def _place_past(self, change: Change) -> Change:
        if self._past.pending:  # they end where this boot begins, which from now on may only move ahead
            self._least_offset_ms = max(self._least_offset_ms, self.offset_ms)
            self._past = self._past._replace(pending=False)
        return change

    def _plausible(self, seen: Observation) -> bool:
        return seen.system_ms >= max(self._rules.floor_ms, self._past.newest_ms)

    def _difference(self, seen: Observation) -> int:
        """How far the system clock is ahead of the agent's time, ms."""
        return seen.system_ms - self.time_ms(seen.boot_ms)

    def _lasts(self, seen: Observation, for_s: float) -> bool:
        """Whether the difference has been the same for that long, and was seen at least twice."""
        difference_ms, synchronised = self._difference(seen), seen.synchronised is True
        known = self._step
        if (
            known is None
            or known.synchronised is not synchronised
            or abs(known.difference_ms - difference_ms) > self._rules.tolerance_ms
        ):
            self._step = _Step(difference_ms, synchronised, seen.boot_ms)
            return False
        return seen.boot_ms - known.since_ms >= 1000 * for_s

    def _follow(self, seen: Observation) -> None:
        if seen.synchronised:
            self._unsynchronised_since_ms = None
        elif self._unsynchronised_since_ms is None:
            self._unsynchronised_since_ms = seen.boot_ms

    def _change(self, reason: str, *, correction_ms: int = 0, shift_ms: int = 0, places_past: bool = False) -> Change:
        return Change(
            self.offset_ms,
            self.trust,
            self.error_ms,
            self.open,
            reason,
            correction_ms,
            shift_ms,
            places_past and self._past.pending,
        )
