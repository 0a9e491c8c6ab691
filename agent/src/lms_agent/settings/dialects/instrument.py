"""What all instruments have in common, whatever they speak."""

from typing import Annotated

from lms_protocol.checked_toml.findings import Checked
from pydantic import Field

from lms_agent.settings.value_types import Id, PeriodS


class Instrument(Checked):
    """`[[instrument]]`: one physical thing on a bus, whose points become tags of a bioreactor.

    What its `profile` says, but for the points that it shall be `without`, has been put in before the file is checked.
    """

    id: Id
    bus: str
    bioreactor: str
    profile: str | None = None
    without: Annotated[tuple[str, ...], Field(strict=False)] = ()
    period_s: PeriodS = 1.0
