"""What is said on a line of text, and what makes an answer a sound one.

Used by `text_line.py`, which says it; each driver has the commands of its dialect.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from lms_agent.buses.owed import Owed
from lms_agent.errors import InstrumentError

Unit: TypeAlias = int | str | None
"""Who is meant on a line with several instruments: a pump's number, a letter; None on a line with one."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is sent, and what its reply looks like.

    Attributes:
        text: without the line end.
        reply: the whole reply must match it, its lines joined by line feeds; None: there is no reply.
        end: ends the command and each line of the reply.
        last: the line that ends a reply of several lines; None: a reply is one line, unless `quiet_s` says otherwise.
        quiet_s: a reply of an unknown number of lines has ended when nothing has come for so long; 0: it says its end.
        unended_s: a whole reply without its line end has ended when nothing has come for so long; 0: it must have one.
        takes_s: time that the instrument itself needs before it answers.
        pause_s: how long after this command, or its reply, the next command may follow.
        unit: who is meant.
        prefix: how each line of the reply begins that the unit says; b"" where that is not known.
        changes: the instrument is not the same afterwards, so that it must be known what becomes of it.
        shape: replies to commands of the same shape look alike; by default, each command's own.
    """

    text: bytes
    reply: re.Pattern[bytes] | None
    end: bytes = b"\r\n"
    last: re.Pattern[bytes] | None = None
    quiet_s: float = 0.0
    unended_s: float = 0.0
    takes_s: float = 0.0
    pause_s: float = 0.0
    unit: Unit = None
    prefix: bytes = b""
    changes: bool = False
    shape: bytes = field(default=b"")

    def __post_init__(self) -> None:
        if not self.shape:
            object.__setattr__(self, "shape", self.text)

    def says(self, line: bytes) -> bool:
        """Whether a line on its own looks like (part of) the reply."""
        if self.prefix and line.startswith(self.prefix):
            return True
        return self.reply is not None and self.reply.fullmatch(line) is not None

    def is_whole(self, received: bytes | bytearray) -> bool:
        """Whether what has come is a reply that lacks its line end, and may do so."""
        return bool(self.unended_s) and self.reply is not None and self.reply.fullmatch(bytes(received)) is not None

    def __str__(self) -> str:
        """For messages: what is sent."""
        return self.text.decode("ascii", "backslashreplace")


class Answer(NamedTuple):
    """A sound reply.

    Attributes:
        match: of the command's pattern; its lines are joined by line feeds.
        arrived_ms: when the last of it came, ms UTC.
    """

    match: re.Match[bytes]
    arrived_ms: int


class TextConfirmation(NamedTuple):
    """What is known after a command that changes the instrument was sent.

    Attributes:
        doubt: why there is no sound answer to it; None: there is one, or the dialect has none for it.
        answer: that answer.
        read_back: the reply to the question that followed; None if there was none, or none that can be believed.
    """

    doubt: InstrumentError | None
    answer: Answer | None
    read_back: Answer | None


class TextDoubt:
    """The commands of one unit that got no sound answer, and whose reply may still be under way.

    A reply does not say which command it answers, except by its look. So after such a command no other of the same
    shape is asked until a command of another shape was answered in kind: an instrument answers in the order in which it
    was asked, so nothing older can come after that (`owed.py`).

        state      event                                           next
        sure       sound reply                                     sure
        sure       no sound reply, or something came unasked       in doubt {command}
        in doubt   probe, answered, none of its shape was open     sure
        in doubt   probe, answered                                 without the oldest such, and all before it
        in doubt   probe, not answered                             in doubt {…, probe}; another probe is next
    """

    def __init__(self) -> None:
        self._owed: Owed[Command] = Owed()
        self._used: dict[bytes, int] = {}  # which probe was used when, in turns

    def __bool__(self) -> bool:
        """Whether any reply may still be under way."""
        return bool(self._owed)

    def asked(self, command: Command, now_s: float) -> None:
        """A command is being sent; it is open until it is answered."""
        self._owed.ask(command.shape, command, now_s)

    def answered(self, command: Command) -> None:
        """A sound reply to a command of this shape has come."""
        self._owed.answer(command.shape)

    def concerns(self, command: Command) -> bool:
        """Whether the reply to `command` could not be told from one that is still under way.

        Before a change there must be no doubt at all: what it comes to shall be known.
        """
        return bool(self) if command.changes else self._owed.oldest(command.shape) is not None

    def explains(self, line: bytes) -> bool:
        """Whether a line may be a late reply to one of these commands."""
        return any(known.says(line) for known in self._owed.open)

    def probe_for(self, command: Command, probes: Sequence[Command]) -> Command | None:
        """The harmless command to ask before `command`, whose reply looks different; None if there is none.

        It is the one that was used longest ago: only a reply that is later than all of them could be taken for its own.
        """
        others = [probe for probe in probes if probe.shape != command.shape]
        chosen = min(others, key=lambda probe: self._used.get(probe.shape, 0), default=None)
        if chosen is not None:
            self._used[chosen.shape] = max(self._used.values(), default=0) + 1
        return chosen
