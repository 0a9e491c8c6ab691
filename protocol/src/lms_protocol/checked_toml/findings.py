"""What models and checks find wrong in a document, before anybody has looked up the line.

Neighbours: `problems.py` is what becomes of it; `explaining.py` makes findings of pydantic's errors.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)
"""Of every model that a file is checked against: nothing unknown, nothing converted, nothing changed afterwards.

A model is built when the first file needs it: an agent that uses no profile saves 4 MB and a tenth of its start."""

KeyPath = tuple[str | int, ...]
"""Keys and indices that lead to a value of a parsed document."""


class Finding(NamedTuple):
    """A problem at a key path of the document; `reading.py` adds the line."""

    path: KeyPath
    found: str
    allowed: str


Wrong = tuple[str, str, str]
"""A key of the table being validated ("" for the value itself), what was found there, what is allowed."""


def wrong(*findings: Wrong) -> PydanticCustomError:
    """Findings of our own, to be raised in a validator; `explaining.py` reads them. Dots lead into inner tables
    and, with numbers from 0, into arrays."""
    return PydanticCustomError("lms", "see the findings", {"findings": findings})


def quoted(text: str) -> str:
    """Text as it stands in the file, with control characters made visible."""
    return json.dumps(text, ensure_ascii=False)


class Checked(BaseModel):
    """A table of a file: strict, frozen, and asked what in it contradicts itself once every key is sound."""

    model_config = STRICT

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        findings = tuple(self._contradictions())
        if findings:
            raise wrong(*findings)
        return self

    def _contradictions(self) -> Iterator[Wrong]:
        """What is wrong although each key by itself is not; models add theirs to those of the models they extend."""
        return iter(())
