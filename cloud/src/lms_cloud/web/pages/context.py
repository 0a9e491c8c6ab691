"""What every page needs: who looks, the form token, and the latest changes.

Neighbours: accounts/dependencies.py and web/csrf.py give it, the pages modules hand it to the templates.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from starlette.requests import HTTPConnection

from lms_cloud.accounts.dependencies import CurrentIdentity, CurrentUnitOfWork
from lms_cloud.accounts.identity import Identity
from lms_cloud.fleet.models import Bioreactor
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.events import read_events
from lms_cloud.organizations.service import OrganizationService
from lms_cloud.web.csrf import csrf_token
from lms_cloud.web.pages.activities import READ, Activity, activities, concerning


def form_token(connection: HTTPConnection) -> str:
    """The token that every form of the page carries."""
    return csrf_token(connection)


FormToken = Annotated[str, Depends(form_token)]


class Viewer:
    """Who looks, in one unit of work of his organization."""

    def __init__(self, identity: CurrentIdentity, uow: CurrentUnitOfWork, token: FormToken) -> None:
        self.identity: Identity = identity
        self.uow: UnitOfWork = uow
        self.token = token

    def context(self, area: str) -> dict[str, object]:
        """What base.html names."""
        return {"identity": self.identity, "area": area, "csrf_token": self.token, "now": self.uow.now()}

    async def activities(self, bioreactors: list[Bioreactor], only: UUID | None = None) -> list[Activity]:
        """The latest changes of the organization, or of one bioreactor."""
        organization_id = self.identity.organization_id
        if organization_id is None:
            return []
        events = await read_events(self.uow.session, organization_id, limit=READ)
        members = await OrganizationService(self.uow).list_members(organization_id)
        names = {f"user {member.user.id}": member.user.name or member.user.email for member in members}
        names |= {str(each.id): each.name for each in bioreactors}
        return activities(events if only is None else concerning(events, only), names)


CurrentViewer = Annotated[Viewer, Depends(Viewer)]
