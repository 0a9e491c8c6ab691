"""What all parts of a plant's file have in common: strict models, ids, speeds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Baud = Annotated[int, Field(ge=300, le=921_600)]


class Strict(BaseModel):
    """A table whose unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)


class SerialDescription(Strict):
    """What every wire on a pseudo-terminal has.

    Attributes:
        link: a path for a symbolic link to the terminal.
        baud: the line's speed.
        pace: replies take the time that they would on a line of that speed.
    """

    id: Id
    link: str | None = None
    baud: Baud = 9600
    pace: bool = False
