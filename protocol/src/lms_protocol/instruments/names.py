"""Names in profiles: of profiles and sources, of status words, of points."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from lms_protocol.checked_toml.findings import quoted, wrong


def _of_form(pattern: str, most: int, allowed: str) -> Callable[[str], str]:
    form = re.compile(pattern)

    def check(text: str) -> str:
        if len(text) > most or form.fullmatch(text) is None:
            raise wrong(("", quoted(text), f"{allowed}, up to {most} characters"))
        return text

    return check


Slug = Annotated[
    str, AfterValidator(_of_form(r"[a-z0-9]+(-[a-z0-9]+)*", 60, "small letters and digits with hyphens: our-ph"))
]
"""Of a profile (and its file), a source or a status."""

PointName = Annotated[
    str,
    AfterValidator(_of_form(r"[A-Za-z][A-Za-z0-9_]*", 40, "letters, digits and _, a letter first: mass_flow")),
]
"""Of a point."""
