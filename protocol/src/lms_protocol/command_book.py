"""The life of commands, without I/O: what to do next with each, so that none is ever carried out twice or late.

    state                event           then
    ───────────────────  ──────────────  ─────────────────────────────────────────────────────────────────────────────
    (unknown id)         take, refused   refused or expired: tell
    (unknown id)         take            begun: keep the record and log that, durably; only then `go`
    begun                go, refused     refused or expired: tell
    begun                go              on its way: send it, once
    begun                end             refused: nothing was sent
    on its way           go once more    as if it had not gone: the instrument was busy, and did nothing
    on its way           end             done, refused or not confirmed: tell
    begun, on its way    agent restarts  not confirmed: tell
    any                  take, same id   nothing is carried out; what became of it is known

What a command waits for between `take` and `go` (the log, a queue, a busy line) may take long: so `go` is asked when
nothing stands between the question and the wire any more.

Neighbours: `lms_agent.commands` keeps the records, writes and tells; `lms_protocol.commands` has the rules.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from lms_protocol.commands import Facts, Limits, Refusal, Rules, SetPoint, Source, State, refusal
from lms_protocol.reading import Value

KEEP_MS: Final = 24 * 3_600_000
"""How long an id is known after its command can no longer be valid: clocks may be put back."""
MOST_KNOWN: Final = 5_000
"""Commands known at a time; more are refused, for none may be forgotten while it could come again."""
ENDED: Final = "the agent ended before it was known whether the instrument took it"


@dataclass(frozen=True, slots=True)
class Record:
    """A command, and what has become of it.

    Attributes:
        changed_at_ms: when it got into this state, ms UTC.
        why: why it was refused, has expired or is not confirmed; "" where there is nothing to say.
        read_back: what the instrument was found to hold.
        sent_at_ms: when it went on its way; None if it did not.
        account: the user of the computer whose process asked, at the bench.
    """

    command: SetPoint
    state: State
    changed_at_ms: int
    why: str = ""
    read_back: Value = None
    sent_at_ms: int | None = None
    account: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state is not State.BEGUN

    @property
    def keep_until_ms(self) -> int:
        """Until when its id must be known."""
        return max(self.command.valid_until_ms, self.changed_at_ms) + KEEP_MS


@dataclass(frozen=True, slots=True)
class End:
    """What came of sending a command.

    Attributes:
        state: DONE, REFUSED (it is certain that it was not carried out) or NOT_CONFIRMED.
    """

    state: State
    why: str = ""
    read_back: Value = None


class CommandBook:
    """All commands whose ids must be known.

    Args:
        rules: for commands from hosts.
        records: what was kept before a restart; those that are not final become so by `recover`.
    """

    def __init__(self, rules: Rules, records: Iterable[Record] = ()) -> None:
        self.rules = rules
        self._records = {record.command.id: record for record in records}
        self._on_their_way: dict[str, int | None] = {}  # with when their tags had been sent before
        self._sent_at_ms: dict[tuple[str, str], int] = {}
        for record in self._records.values():
            self._note_sent(record)

    def get(self, id_: str) -> Record | None:
        """What is known of a command."""
        return self._records.get(id_)

    def is_on_its_way(self, id_: str) -> bool:
        """Whether a command may be at its instrument, and no end is known yet."""
        return id_ in self._on_their_way

    def __len__(self) -> int:
        """How many are known."""
        return len(self._records)

    @property
    def is_full(self) -> bool:
        """Whether no more commands of hosts are taken."""
        return len(self._records) >= MOST_KNOWN

    def recover(self, now_ms: int) -> list[Record]:
        """After a restart: what was begun is over, and nobody knows how it ended. Tell these."""
        return [
            self._put(
                replace(
                    record,
                    state=State.NOT_CONFIRMED,
                    changed_at_ms=now_ms,
                    why=ENDED,
                    sent_at_ms=record.changed_at_ms if record.sent_at_ms is None else record.sent_at_ms,  # perhaps
                )
            )
            for record in list(self._records.values())
            if not record.is_final
        ]

    def take(self, command: SetPoint, limits: Limits, facts: Facts, account: str = "") -> Record:
        """A command has come; its record, begun or final.

        Raises:
            ValueError: the id is known: see `get` first.
        """
        if command.id in self._records:
            raise ValueError(f"command {command.id!r} is known")
        why = refusal(command, limits, self._with_last(command, facts), self.rules)
        if why is None and self.is_full and command.source is Source.REMOTE:
            why = Refusal(State.REFUSED, f"{MOST_KNOWN} commands came within a day; no more are taken")
        state, words = (State.BEGUN, "") if why is None else why
        return self._put(Record(command, state, facts.now_ms, words, account=account))

    def go(self, id_: str, limits: Limits, facts: Facts) -> Record:
        """The wire is free: if the record is still begun, send now; else it is final, and nothing may be sent.

        Asked once more for a command that is on its way: the instrument has answered that it did nothing.
        """
        record = self._records[id_]
        if record.is_final:
            raise ValueError(f"command {id_!r} is {record.state}, and went already")
        facts = self._with_last(record.command, facts)
        if id_ in self._on_their_way:
            facts = facts._replace(last_sent_at_ms=self._on_their_way[id_])
        why = refusal(record.command, limits, facts, self.rules)
        if why is not None:
            self._on_their_way.pop(id_, None)
            return self._put(replace(record, state=why.state, why=why.why, changed_at_ms=facts.now_ms))
        self._on_their_way[id_] = facts.last_sent_at_ms
        return self._put(replace(record, sent_at_ms=facts.now_ms))

    def end(self, id_: str, end: End, now_ms: int) -> Record:
        """What came of it. Of a command that did not go yet, only that it was refused."""
        record = self._records[id_]
        if record.is_final or end.state in (State.BEGUN, State.EXPIRED):
            raise ValueError(f"command {id_!r} is {record.state}, it cannot become {end.state}")
        if id_ not in self._on_their_way and end.state is not State.REFUSED:
            raise ValueError(f"command {id_!r} was not sent, it cannot become {end.state}")
        self._on_their_way.pop(id_, None)
        return self._put(replace(record, state=end.state, why=end.why, read_back=end.read_back, changed_at_ms=now_ms))

    def forget(self, now_ms: int) -> list[str]:
        """Forget commands that can no longer be valid; their ids. Only for when the clock is known to be right."""
        old = [id_ for id_, record in self._records.items() if record.is_final and now_ms > record.keep_until_ms]
        for id_ in old:
            del self._records[id_]
        return old

    def _put(self, record: Record) -> Record:
        self._records[record.command.id] = record
        self._note_sent(record)
        return record

    def _note_sent(self, record: Record) -> None:
        if record.sent_at_ms is not None:
            key = record.command.device, record.command.tag
            self._sent_at_ms[key] = max(record.sent_at_ms, self._sent_at_ms.get(key, record.sent_at_ms))

    def _with_last(self, command: SetPoint, facts: Facts) -> Facts:
        return facts._replace(last_sent_at_ms=self._sent_at_ms.get((command.device, command.tag)))
