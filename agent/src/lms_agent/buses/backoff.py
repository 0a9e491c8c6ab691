"""How long to leave alone what does not answer: a little longer each time, up to a limit, with some chance in it.

Used for ports that cannot be opened (`modbus.py`, `text_line.py`) and for silent instruments (`sampling`). Chance keeps
many agents, or many slaves that lost power together, from being asked in step.
"""

import random


class Backoff:
    """Waiting times that double from `first_s` to `most_s`.

    Args:
        first_s: the wait after the first failure.
        most_s: no wait is longer.
        chance: source of chance; injected so that a simulation can repeat itself.
    """

    def __init__(self, first_s: float, most_s: float, chance: random.Random) -> None:
        self.first_s = first_s
        self.most_s = most_s
        self._chance = chance
        self.failures = 0

    def failed(self) -> float:
        """Count a failure and return how long to wait now: the present step, less up to a quarter by chance."""
        step_s = min(self.first_s * 2.0 ** min(self.failures, 30), self.most_s)
        self.failures += 1
        return self.spread(step_s)

    def spread(self, wait_s: float) -> float:
        """A wait, less up to a quarter by chance."""
        return wait_s * (1.0 - 0.25 * self._chance.random())

    def succeeded(self) -> None:
        """Start again with the shortest wait."""
        self.failures = 0
