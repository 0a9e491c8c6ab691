"""What the fleet's REST takes: declared fields only; `organization_id` is never one of them."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from lms_cloud.fleet.models import DatatypeName
from lms_cloud.kernel.wire_ids import WireId


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class NewAgent(_Request):
    """A new agent; the wire id is made from the name where it is left out."""

    name: str = Field(min_length=1, max_length=100)
    description: str | None = Field(None, max_length=500)
    wire_id: WireId | None = None


class NewBioreactor(_Request):
    """A new bioreactor; the wire id is made from the name where it is left out."""

    name: str = Field(min_length=1, max_length=100)
    description: str | None = Field(None, max_length=500)
    wire_id: WireId | None = None
    agent_id: UUID | None = None
    kind: str | None = Field(None, max_length=100)
    volume_l: float | None = Field(None, gt=0, le=1_000_000, description="Working volume, L.")
    location: str | None = Field(None, max_length=200)


class NewTag(_Request):
    """A new tag."""

    name: str = Field(min_length=1, max_length=100)
    description: str | None = Field(None, max_length=500)
    bioreactor_id: UUID
    unit: str = Field("", max_length=32)
    low: float | None = None
    high: float | None = None
    decimals: int | None = Field(None, ge=0, le=12)
    datatype: DatatypeName = "double"
    access: Literal["read", "write"] = "read"


class _Change(_Request):
    name: str | None = Field(None, min_length=1, max_length=100)
    description: str | None = Field(None, max_length=500)
    version: int | None = Field(None, description="Refuse the change if it is no longer at this version.")

    def properties(self) -> dict[str, Any]:
        """The properties that were given, `null` included."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"name", "description", "version"})


class AgentChange(_Change):
    """What of an agent is to change."""

    wire_id: WireId | None = None


class BioreactorChange(_Change):
    """What of a bioreactor is to change."""

    agent_id: UUID | None = None
    kind: str | None = Field(None, max_length=100)
    volume_l: float | None = Field(None, gt=0, le=1_000_000)
    location: str | None = Field(None, max_length=200)


class TagChange(_Change):
    """What of a tag is to change."""

    unit: str | None = Field(None, max_length=32)
    low: float | None = None
    high: float | None = None
    decimals: int | None = Field(None, ge=0, le=12)
