"""`/ws/live-data`: a browser subscribes to bioreactors and gets history, then every commit. See docs/websockets.md.

Before it: `lms_cloud.live.following`, one for each bioreactor on view; after it: the browser.
"""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from lms_protocol.topics import LiveTopic
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lms_cloud.accounts.dependencies import identify_websocket, is_own_origin
from lms_cloud.accounts.identity import Identity
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.ending import end
from lms_cloud.kernel.errors import NotFound
from lms_cloud.live.following import Following
from lms_cloud.live.hub import LiveHub
from lms_cloud.organizations.models import Organization
from lms_cloud.telemetry.history.service import MAX_POINTS, MIN_POINTS

LONGEST_WINDOW_S: Final = 10 * 366 * 86_400
MAX_SUBSCRIPTIONS: Final = 64
MAX_REQUEST: Final = 4096
IDENTIFY_S: Final = 30.0
POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013

router = APIRouter()
_log = structlog.get_logger(__name__)


class Subscribe(BaseModel):
    """The browser wants to see a bioreactor; again for the same one replaces what it asked before."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["subscribe"]
    bioreactor: UUID
    window_s: float = Field(900, gt=0, le=LONGEST_WINDOW_S)
    max_points: int = Field(600, ge=MIN_POINTS, le=MAX_POINTS)
    cursor: int | None = Field(None, ge=0, lt=2**63)


class Unsubscribe(BaseModel):
    """The browser does not want to see it any more."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["unsubscribe"]
    bioreactor: UUID


_REQUEST: Final[TypeAdapter[Subscribe | Unsubscribe]] = TypeAdapter(
    Annotated[Subscribe | Unsubscribe, Field(discriminator="type")]
)


@router.websocket("/ws/live-data")
async def live_data(websocket: WebSocket) -> None:
    """Live readings. Refused before it is accepted (403) for a foreign Origin, or if nobody is logged in."""
    origin = websocket.headers.get("origin")
    identity = None
    if origin is None or is_own_origin(origin, websocket.app.state.settings):
        identity = await identify_websocket(websocket)
    if identity is None or identity.organization_id is None:
        await websocket.close(POLICY_VIOLATION)
        return
    await websocket.accept()
    client = _Client(websocket, identity, identity.organization_id)
    # Whoever leaves, and however: nothing can be said to him any more.
    with suppress(WebSocketDisconnect, RuntimeError):
        try:
            await client.run()
        except (DBAPIError, PoolTimeout, OSError):
            await websocket.close(TRY_AGAIN_LATER, "The database does not answer at the moment.")


class _Client:
    """One open WebSocket."""

    def __init__(self, websocket: WebSocket, identity: Identity, organization_id: UUID) -> None:
        self._websocket = websocket
        self._identity = identity
        self._organization_id = organization_id
        self._hub: LiveHub = websocket.app.state.live_hub
        self._sending = asyncio.Lock()
        self._followed: dict[UUID, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve until the browser leaves, or may not stay."""
        watching = asyncio.create_task(self._keep_identifying())
        try:
            while (heard := await self._websocket.receive())["type"] != "websocket.disconnect":
                await self._hear(heard.get("text") or heard.get("bytes") or "")
        finally:
            await end((watching, *self._followed.values()))

    async def _hear(self, text: str | bytes) -> None:
        try:
            request = _REQUEST.validate_json(text[:MAX_REQUEST])
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            await self._refuse("That request cannot be read", f"{field}: {first['msg']}".lstrip(": "))
            return
        before = self._followed.pop(request.bioreactor, None)
        if before is not None:
            await end((before,))
        if isinstance(request, Unsubscribe):
            return
        if len(self._followed) >= MAX_SUBSCRIPTIONS:
            await self._refuse("Too many bioreactors", f"One connection can watch {MAX_SUBSCRIPTIONS} at once.")
            return
        topic = await self._find(request.bioreactor)
        if topic is None:
            await self._websocket.close(POLICY_VIOLATION, "There is no such bioreactor in this organization.")
            return
        self._followed[request.bioreactor] = asyncio.create_task(self._follow(request, topic))

    async def _find(self, bioreactor_id: UUID) -> LiveTopic | None:
        async with self._hub.database.unit_of_work(self._organization_id, self._identity.user_id) as uow:
            try:
                bioreactor = await FleetService(uow).get_bioreactor(bioreactor_id)
            except NotFound:
                return None
            organization = await uow.session.get_one(Organization, self._organization_id)
            return LiveTopic(organization.typed.wire_id, bioreactor.typed.wire_id)

    async def _follow(self, request: Subscribe, topic: LiveTopic) -> None:
        following = Following(
            self._hub,
            organization_id=self._organization_id,
            bioreactor_id=request.bioreactor,
            topic=topic,
            window=timedelta(seconds=request.window_s),
            max_points=request.max_points,
            send=self._send,
        )
        try:
            await following.run(request.cursor)
        except (DBAPIError, PoolTimeout, OSError) as error:
            _log.warning("live view ended: the database does not answer", why=str(error))
            await self._close(TRY_AGAIN_LATER, "The database does not answer at the moment.")
        except (WebSocketDisconnect, RuntimeError):
            return
        except NotFound:
            await self._close(POLICY_VIOLATION, "The bioreactor was deleted.")
        except Exception:
            _log.exception("live view failed", bioreactor=str(request.bioreactor))
            await self._close(1011, "Something failed on the server.")

    async def _keep_identifying(self) -> None:
        """Close when the session or token behind the connection has ended."""
        while True:
            await asyncio.sleep(IDENTIFY_S)
            with suppress(DBAPIError, PoolTimeout, OSError):
                identity = await identify_websocket(self._websocket)
                if identity is None or identity.organization_id != self._organization_id:
                    await self._close(POLICY_VIOLATION, "The session has ended: log in again.")
                    return

    async def _refuse(self, title: str, detail: str) -> None:
        await self._send({"type": "error", "title": title, "detail": detail})

    async def _send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        async with self._sending:
            await self._websocket.send_text(text)

    async def _close(self, code: int, reason: str) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.close(code, reason)
