"""What all instruments have in common, whatever they speak."""

from lms_protocol.checked_toml.findings import STRICT
from pydantic import BaseModel

from lms_agent.settings.value_types import Id, PeriodS


class Instrument(BaseModel):
    """`[[instrument]]`: one physical thing on a bus, whose points become tags of a bioreactor."""

    model_config = STRICT

    id: Id
    bus: str
    bioreactor: str
    period_s: PeriodS = 1.0
