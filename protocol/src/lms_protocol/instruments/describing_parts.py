"""Parts of a profile's page that others are made of: tables, numbers, where a fact is from, what a word means.

Used by `describing.py` and `describing_calibration.py`.
"""

from collections.abc import Iterable, Iterator, Sequence

from lms_protocol.instruments.calibration import Procedure
from lms_protocol.instruments.facts import Fact
from lms_protocol.instruments.model import Profile
from lms_protocol.instruments.registers import StatusMeaning, StatusWord
from lms_protocol.instruments.registers_profile import NamedStatus, UnitCodes

FUNCTIONS = {"holding": "holding register", "input": "input register", "coil": "coil", "discrete": "discrete input"}


def source_words(profile: Profile, fact: Fact | Procedure) -> str:
    """Where a fact is from: its source and page."""
    source = profile.source_of(fact)
    return f"`{source.id}`" + (f", {fact.page}" if fact.page else "")


def number(value: float | None) -> str:
    """A number, or an ellipsis where there is none."""
    return "…" if value is None else f"{value:g}"


def meanings(status: StatusMeaning, judged: str) -> Iterator[str]:
    """A table of what a status word can say.

    Args:
        status: the meaning of the word.
        judged: the heading of the column of qualities.
    """
    rows = [(_condition(each.mask, each.equals), each.words, each.quality) for each in status.conditions]
    yield from (*table(("word", "means", judged), rows), "")


def _condition(mask: int, equals: int | None) -> str:
    return f"{mask:#x} set" if equals is None else f"{equals:#x} (of {mask:#x})"


def coding(word: NamedStatus | UnitCodes | StatusWord) -> str:
    """How a word is coded."""
    return word.kind + (", low word first" if word.word_order == "little" else "")


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table without the columns that are empty."""
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    kept = [column for column in range(len(heading)) if any(row[column] for row in body)]
    yield "| " + " | ".join(heading[column] for column in kept) + " |"
    yield "|" + "---|" * len(kept)
    yield from ("| " + " | ".join(row[column] for column in kept) + " |" for row in body)
