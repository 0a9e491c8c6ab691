"""Which set points may be written, by whom and how far: `[commands]`, and what a point says of it.

Neighbours: `points.py` has the keys of a point, `model.py` the section; `lms_agent.commands` asks.
"""

from lms_protocol.checked_toml.findings import STRICT
from lms_protocol.commands import Rules
from pydantic import BaseModel, Field


class CommandsSection(BaseModel):
    """`[commands]`: which commands of hosts are taken. What is set at the bench is not concerned."""

    model_config = STRICT

    remote: bool = True
    longest_lifetime_s: float = Field(600.0, gt=0, le=86_400)
    accept_plain: bool = False
    plain_lifetime_s: float = Field(10.0, gt=0, le=600)

    @property
    def rules(self) -> Rules:
        """The same, as the life of commands knows it."""
        return Rules(remote=self.remote, longest_lifetime_ms=round(1000 * self.longest_lifetime_s))
