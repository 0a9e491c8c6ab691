"""The fleet's kinds of entities: agents, bioreactors and tags."""

from typing import Any, ClassVar, Literal
from uuid import UUID

from lms_protocol.reading import Datatype
from pydantic import Field, model_validator

from lms_cloud.kernel.entities import Entity, EntityProperties, TypedEntity
from lms_cloud.kernel.wire_ids import WireId

DatatypeName = Literal["int64", "uint64", "float", "double", "boolean", "string"]


class AgentProperties(EntityProperties):
    """What is known of an agent.

    Attributes:
        wire_id: its Sparkplug edge node id, unique in the organization.
    """

    wire_id: WireId


class BioreactorProperties(EntityProperties):
    """What is known of a bioreactor.

    Attributes:
        wire_id: its Sparkplug device id, unique in the organization.
        agent_id: the agent that serves it; None before one does.
        kind: such as "stirred tank", "wave", "single-use".
        volume_l: working volume, L.
        location: where it stands.
    """

    wire_id: WireId
    agent_id: UUID | None = None
    kind: str | None = Field(None, max_length=100)
    volume_l: float | None = Field(None, gt=0, le=1_000_000)
    location: str | None = Field(None, max_length=200)


class TagProperties(EntityProperties):
    """What is known of a tag; its name (`pH/PV`) is the entity's.

    Attributes:
        bioreactor_id: whose tag it is; the name is unique in it.
        unit: as shown to people; "" for none.
        low, high: the normal range in `unit`.
        decimals: digits after the point that the instrument has.
        datatype: of its values.
        access: whether a set point may be written.
        alias: its number in the agent's log, the Sparkplug alias; None before an agent has told of it.
    """

    bioreactor_id: UUID
    unit: str = Field("", max_length=32)
    low: float | None = None
    high: float | None = None
    decimals: int | None = Field(None, ge=0, le=12)
    datatype: DatatypeName = "double"
    access: Literal["read", "write"] = "read"
    alias: int | None = Field(None, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _check_range(self) -> "TagProperties":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self

    @property
    def sparkplug_datatype(self) -> Datatype:
        """The datatype as the wire knows it."""
        return Datatype[self.datatype.upper()]


class Agent(TypedEntity[AgentProperties], Entity):
    """The program beside the bioreactors; serves one or more of them."""

    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "agent"}  # type: ignore[misc]

    Properties = AgentProperties


class Bioreactor(TypedEntity[BioreactorProperties], Entity):
    """The vessel that is watched."""

    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "bioreactor"}  # type: ignore[misc]

    Properties = BioreactorProperties


class Tag(TypedEntity[TagProperties], Entity):
    """One measured or set quantity of a bioreactor."""

    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "tag"}  # type: ignore[misc]

    Properties = TagProperties
