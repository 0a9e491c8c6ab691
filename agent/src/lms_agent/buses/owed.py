"""What an instrument still owes: requests without a sound answer, whose reply may yet come, however late.

    asked                      it joins the end
    answered in kind           the oldest of that look is answered, at least; so it and all before it are settled
    nothing came, or nonsense  nothing changes

That is all that can be known of replies that do not say what they answer, from an instrument that answers in the order
in which it was asked. `doubt.py` (Modbus) and `text_commands.py` say what the look of a reply is.

An instrument may ignore the very questions that could prove something. So what is ten seconds old, and was followed by
three questions that got no answer either, is forgotten: no reply is later than that.
"""

from typing import Generic, NamedTuple, TypeVar

FORGOTTEN_S = 10.0
_VAIN = 3
_MOST_KEPT = 32

Asked = TypeVar("Asked")


class _Entry(NamedTuple, Generic[Asked]):
    look: object
    asked: Asked
    at_s: float


class Owed(Generic[Asked]):
    """The open requests of one instrument, oldest first."""

    def __init__(self) -> None:
        self._open: list[_Entry[Asked]] = []

    def __bool__(self) -> bool:
        """Whether any reply may still be under way."""
        return bool(self._open)

    @property
    def open(self) -> list[Asked]:
        """What was asked and not answered, oldest first."""
        return [entry.asked for entry in self._open]

    def ask(self, look: object, asked: Asked, now_s: float) -> None:
        """Something is being asked; how a reply to it looks.

        Args:
            now_s: on a clock that never runs backwards.
        """
        self._forget(now_s)
        if len(self._open) >= _MOST_KEPT:
            del self._open[_MOST_KEPT // 2]  # of an instrument that is dead; its first and last are kept
        self._open.append(_Entry(look, asked, now_s))

    def answer(self, look: object) -> bool:
        """A reply of this look has come. True: it was owed; the oldest such is settled, with all before it."""
        at = self.oldest(look)
        if at is not None:
            del self._open[: at + 1]
        return at is not None

    def oldest(self, look: object) -> int | None:
        """Where the oldest of this look stands among the open ones; None: none is owed."""
        return next((at for at, entry in enumerate(self._open) if entry.look == look), None)

    def _forget(self, now_s: float) -> None:
        while len(self._open) > _VAIN and now_s - self._open[0].at_s >= FORGOTTEN_S:
            del self._open[0]
