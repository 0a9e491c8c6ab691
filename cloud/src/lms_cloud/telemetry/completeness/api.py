"""REST of completeness: of an agent and of a bioreactor. Every member reads."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from lms_cloud.accounts.dependencies import CurrentUnitOfWork
from lms_cloud.telemetry.completeness.report import Unit
from lms_cloud.telemetry.completeness.service import CompletenessService

router = APIRouter(prefix="/api/v1", tags=["completeness"])

Start = Annotated[datetime | None, Query(description="Beginning; 24 h before the end if left out.")]
End = Annotated[datetime | None, Query(description="End; now if left out.")]
By = Annotated[Unit | None, Query(description="Hours or days (UTC); hours up to 8 days if left out.")]


@router.get("/agents/{agent_id}/completeness")
async def of_agent(
    agent_id: UUID, uow: CurrentUnitOfWork, start: Start = None, end: End = None, by: By = None
) -> dict[str, Any]:
    """Of what an agent logged in a window: what is stored, what is missing, which gaps it told of, and why."""
    return (await CompletenessService(uow).of_agent(agent_id, start, end, by)).as_json()


@router.get("/bioreactors/{bioreactor_id}/completeness")
async def of_bioreactor(
    bioreactor_id: UUID, uow: CurrentUnitOfWork, start: Start = None, end: End = None, by: By = None
) -> dict[str, Any]:
    """The same of a bioreactor. `shared`: what is missing may be another bioreactor's, as its agent serves several."""
    return (await CompletenessService(uow).of_bioreactor(bioreactor_id, start, end, by)).as_json()
