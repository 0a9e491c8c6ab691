"""REST of the dead letters: `/api/v1/dead-letters`. Every member reads, technicians have them read again or dismiss."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from lms_cloud.accounts.dependencies import CurrentUnitOfWork, require_role
from lms_cloud.accounts.roles import Role
from lms_cloud.telemetry.dead_letters.service import DEFAULT_LISTED, MAX_LISTED, DeadLetterService, LetterState

router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"])
_WORKERS = [Depends(require_role(Role.TECHNICIAN, "have dead letters read again"))]


class Dismissal(BaseModel):
    """Why nothing is to be done about a letter."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(None, max_length=500)


@router.get("")
async def list_letters(
    uow: CurrentUnitOfWork,
    state: Annotated[list[LetterState] | None, Query(description="Only those in one of these states.")] = None,
    bioreactor_id: Annotated[UUID | None, Query(description="Only those of this bioreactor.")] = None,
    before: Annotated[UUID | None, Query(description="Only those older than this letter.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="How many at most.")] = DEFAULT_LISTED,
) -> dict[str, Any]:
    """Messages that could not be stored, the newest first, without their bytes."""
    found = await DeadLetterService(uow).list_letters(
        states=None if state is None else tuple(state), bioreactor_id=bioreactor_id, before=before, limit=limit
    )
    return {"letters": [letter.as_json() for letter in found]}


@router.get("/{letter_id}")
async def get_letter(letter_id: UUID, uow: CurrentUnitOfWork) -> dict[str, Any]:
    """One of them."""
    return (await DeadLetterService(uow).get(letter_id)).as_json()


@router.get("/{letter_id}/bytes", response_class=Response)
async def get_bytes(letter_id: UUID, uow: CurrentUnitOfWork) -> Response:
    """Its bytes as they came, to be looked at with other tools."""
    payload = await DeadLetterService(uow).payload(letter_id)
    headers = {"Content-Disposition": f'attachment; filename="{letter_id}.bin"', "X-Content-Type-Options": "nosniff"}
    return Response(payload, media_type="application/octet-stream", headers=headers)


@router.post("/{letter_id}/replay", status_code=202, dependencies=_WORKERS)
async def replay(letter_id: UUID, uow: CurrentUnitOfWork) -> dict[str, Any]:
    """Have it read again with today's decoder and stored. Ingest does that within seconds: ask again how it went."""
    return (await DeadLetterService(uow).ask_for_replay(letter_id)).as_json()


@router.post("/{letter_id}/dismiss", dependencies=_WORKERS)
async def dismiss(letter_id: UUID, uow: CurrentUnitOfWork, dismissal: Dismissal | None = None) -> dict[str, Any]:
    """Leave it as it is: somebody has seen it. Its bytes are kept."""
    return (await DeadLetterService(uow).dismiss(letter_id, dismissal.reason if dismissal else None)).as_json()
