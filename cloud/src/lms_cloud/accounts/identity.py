"""Who is asking: what a valid session or access token comes down to."""

from dataclasses import dataclass
from uuid import UUID

from lms_cloud.accounts.roles import Role
from lms_cloud.kernel.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Identity:
    """A user who is logged in, and the organization that he works in.

    Attributes:
        organization_id: None where the user belongs to no organization yet.
        role: in that organization; None where there is none.
        session_id: the login behind it.
        through_cookie: the browser sent it by itself, so unsafe requests need a form token too.
    """

    user_id: UUID
    email: str
    name: str | None
    organization_id: UUID | None
    role: Role | None
    session_id: UUID
    through_cookie: bool = False

    def require(self, role: Role, action: str) -> None:
        """Let only members with `role` or a greater one pass.

        Args:
            role: the least role.
            action: what they are about to do, as in "You may not {action}".

        Raises:
            Forbidden: the role is less, or there is no organization.
        """
        if self.role is None:
            raise Forbidden(action, "you belong to no organization; create one first")
        if not self.role.includes(role):
            raise Forbidden(action, f"it needs the role {role.value}, yours is {self.role.value}")
