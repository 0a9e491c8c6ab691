"""Whose turn it is on a line: one at a time, what is urgent before polls that wait, nobody in the middle of another.

Used by the masters (`modbus.py`, `text_line.py`). A poll loses at most the time of the urgent transactions before it;
so that a flood of commands cannot end the measuring, a poll that waits goes after at most `MOST_URGENT` of them.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import TypeAlias

MOST_URGENT = 4
"""Urgent turns in a row, while a poll waits."""

_Waiting: TypeAlias = "deque[asyncio.Future[None]]"


class Turns:
    """The turns on one line, first come first served within the urgent ones and within the others.
    Enter one with `async with turns.take(urgent=…)`.
    """

    def __init__(self) -> None:
        self._taken = False
        self._urgent: _Waiting = deque()
        self._polls: _Waiting = deque()
        self._urgent_in_a_row = 0

    def take(self, *, urgent: bool = False) -> "_Turn":
        """A turn, to be entered with `async with`; it begins when the line is free, and ends with the block."""
        return _Turn(self, urgent=urgent)

    async def begin(self, *, urgent: bool) -> None:
        """Wait for the turn; a caller that is cancelled while waiting has none."""
        if not self._taken:
            self._begun(urgent=urgent)
            return
        waiting = self._urgent if urgent else self._polls
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in waiting:
                waiting.remove(turn)
            elif not turn.cancelled():  # the turn had been given, and nobody came to take it
                self.end()
            raise

    def end(self) -> None:
        """Give the line to whoever is next."""
        self._taken = False
        polls_wait = any(not turn.done() for turn in self._polls)
        in_order = [(self._urgent, True), (self._polls, False)]
        if self._urgent_in_a_row >= MOST_URGENT and polls_wait:
            in_order.reverse()
        for waiting, urgent in in_order:
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    self._begun(urgent=urgent)
                    turn.set_result(None)
                    return

    def _begun(self, *, urgent: bool) -> None:
        self._taken = True
        self._urgent_in_a_row = self._urgent_in_a_row + 1 if urgent else 0


class _Turn:
    def __init__(self, turns: Turns, *, urgent: bool) -> None:
        self._turns = turns
        self._urgent = urgent

    async def __aenter__(self) -> None:
        await self._turns.begin(urgent=self._urgent)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.end()
