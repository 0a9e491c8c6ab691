"""What is wrong in a file, as people are told: line, key, what was found, what is allowed.

Neighbours: `reading.py` makes the problems; errors of the agent's configuration and of profiles are built on them. Does
not need pydantic, so that a command which only prints its help need not wait for it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lms_protocol.errors import LmsError


class SettingsProblem(NamedTuple):
    """One thing in a file that cannot be used.

    Attributes:
        line: where, counted from 1; None if it concerns the file as a whole.
        key: the path of the key, such as `instrument[ph-probe].point[pH/PV].address`; "" for the file.
        found: what stands there.
        allowed: what may stand there, or what to do.
    """

    line: int | None
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        """One line for a person: place, what was found, what is allowed."""
        place = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.key) if part)
        return f"{place}: " * bool(place) + f"found {self.found}; allowed: {self.allowed}"


class UnusableFile(LmsError):
    """A file cannot be used.

    Attributes:
        path: the file.
        problems: all that was found, in the order of the file.
    """

    def __init__(self, path: Path, problems: Sequence[SettingsProblem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            super().__init__(f"{path}: {self.problems[0]}")
        else:
            lines = "".join(f"\n  {problem}" for problem in self.problems)
            super().__init__(f"{path}: {len(self.problems)} problems{lines}")
