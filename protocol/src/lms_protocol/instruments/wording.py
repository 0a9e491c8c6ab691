"""What is said to an instrument that talks in lines, and what its answer must look like.

A question or command may hold `{unit}`, the instrument's address on its line, and, in a calibration, `{value}`, the
reference's value, in a form such as `{value:.2f}`. A pattern is a regular expression; `{unit}` in it is the address.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from lms_protocol.checked_toml.findings import quoted, wrong

_UNIT = "{unit}"


def worded(template: str, *, unit: object = "", value: float = 0.0) -> str:
    """What is sent, for one instrument and one reference."""
    return template.format(unit=unit, value=value)


def fits(pattern: str, answer: str, *, unit: object = "") -> bool:
    """Whether an answer, without its line end, is as it must be."""
    return re.search(pattern.replace(_UNIT, re.escape(str(unit))), answer) is not None


def _check_template(text: str) -> str:
    try:
        worded(text, unit="A", value=1.0)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        allowed = "text in which braces hold `unit` or `value`, such as {value:.2f}"
        raise wrong(("", quoted(text), allowed)) from error
    if not (text.isascii() and text.isprintable()):
        raise wrong(("", quoted(text), "printable ASCII: the line end is the dialect's"))
    return text


def _check_pattern(text: str) -> str:
    try:
        re.compile(text.replace(_UNIT, "A"))
    except re.error as error:
        raise wrong(("", f"{quoted(text)} ({error})", "a regular expression")) from error
    return text


Template = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_check_template)]
Pattern = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_pattern)]
