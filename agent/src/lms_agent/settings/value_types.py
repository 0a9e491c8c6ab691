"""Kinds of values that several tables of the file share: ids, paths, times."""

from pathlib import Path
from typing import Annotated

from lms_protocol.checked_toml.findings import quoted, wrong
from lms_protocol.errors import TopicError
from lms_protocol.topics import check_id
from pydantic import AfterValidator, Field, ValidationInfo

MIN_PERIOD_S = 0.05
MAX_PERIOD_S = 86_400.0


def _check_id(text: str) -> str:
    try:
        return check_id(text)
    except TopicError as error:
        allowed = f"1 to 128 printable characters without + / #, for it stands in topics ({error.reason})"
        raise wrong(("", quoted(text), allowed)) from None


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path())
    try:
        return base / path.expanduser()
    except RuntimeError as error:
        raise wrong(("", quoted(str(path)), "a path; there is no account whose home that would be")) from error


Id = Annotated[str, AfterValidator(_check_id)]
FilePath = Annotated[Path, Field(strict=False), AfterValidator(_resolve)]
"""A path; relative ones count from the folder of the TOML file."""

TimeoutS = Annotated[float, Field(gt=0, le=60)]
PeriodS = Annotated[float, Field(ge=MIN_PERIOD_S, le=MAX_PERIOD_S)]
