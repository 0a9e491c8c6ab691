"""Roles in an organization, and what each may do. A role may do all that the roles before it may.

viewer       sees everything
technician   also works at the bench: set points, acknowledging alarms
scientist    also changes the fleet: bioreactors, agents, tags, runs, rules
admin        also manages members
owner        also the organization itself
"""

from enum import StrEnum


class Role(StrEnum):
    """A member's role, least first."""

    VIEWER = "viewer"
    TECHNICIAN = "technician"
    SCIENTIST = "scientist"
    ADMIN = "admin"
    OWNER = "owner"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do all that `other` may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)
