"""What one look gives."""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How it is."""

    GOOD = "good"
    NOTE = "note"  # works, but somebody should know
    BAD = "bad"
    UNKNOWN = "unknown"  # it could not be looked at

    @property
    def is_well(self) -> bool:
        """Whether one may go on from here."""
        return self in {State.GOOD, State.NOTE}


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        subject: what, in a word or two.
        found: how it is, as a sentence without its end.
        remedy: what to do about it; "" where nothing is to be done.
    """

    subject: str
    state: State
    found: str
    remedy: str = ""


def good(subject: str, found: str) -> Finding:
    """All is well."""
    return Finding(subject, State.GOOD, found)


def note(subject: str, found: str, remedy: str = "") -> Finding:
    """It works, but."""
    return Finding(subject, State.NOTE, found, remedy)


def bad(subject: str, found: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(subject, State.BAD, found, remedy)


def unknown(subject: str, found: str, remedy: str = "") -> Finding:
    """It could not be looked at."""
    return Finding(subject, State.UNKNOWN, found, remedy)
