"""The organization as an entity: it owns everything below it, and itself."""

from typing import Any, ClassVar

from lms_cloud.kernel.entities import Entity, EntityProperties, TypedEntity
from lms_cloud.kernel.wire_ids import WireId


class OrganizationProperties(EntityProperties):
    """What is known of an organization besides name and description.

    Attributes:
        wire_id: the group in MQTT topics; unique in the whole cloud.
    """

    wire_id: WireId


class Organization(TypedEntity[OrganizationProperties], Entity):
    """A tenant. Its `organization_id` is its own id."""

    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "organization"}  # type: ignore[misc]

    Properties = OrganizationProperties
