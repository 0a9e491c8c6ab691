"""What the fleet's REST answers with: declared fields only."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from lms_cloud.fleet.models import Agent, Bioreactor, DatatypeName, Tag
from lms_cloud.kernel.entities import Entity


class EntityAnswer(BaseModel):
    """What every kind of thing has."""

    id: UUID
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    is_active: bool
    version: int


class AgentAnswer(EntityAnswer):
    """An agent."""

    wire_id: str

    @classmethod
    def of(cls, agent: Agent) -> "AgentAnswer":
        """The fields that leave the server."""
        return cls(**_common(agent), **agent.typed.model_dump())


class BioreactorAnswer(EntityAnswer):
    """A bioreactor."""

    wire_id: str
    agent_id: UUID | None
    kind: str | None
    volume_l: float | None
    location: str | None

    @classmethod
    def of(cls, bioreactor: Bioreactor) -> "BioreactorAnswer":
        """The fields that leave the server."""
        return cls(**_common(bioreactor), **bioreactor.typed.model_dump())


class TagAnswer(EntityAnswer):
    """A tag."""

    bioreactor_id: UUID
    unit: str
    low: float | None
    high: float | None
    decimals: int | None
    datatype: DatatypeName
    access: Literal["read", "write"]
    alias: int | None

    @classmethod
    def of(cls, tag: Tag) -> "TagAnswer":
        """The fields that leave the server."""
        return cls(**_common(tag), **tag.typed.model_dump())


def _common(entity: Entity) -> dict[str, Any]:
    return {field: getattr(entity, field) for field in EntityAnswer.model_fields}
