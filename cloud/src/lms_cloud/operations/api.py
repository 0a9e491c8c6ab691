"""`/healthz`: the process answers. `/readyz`: and what it needs answers, too; else which does not (503)."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from lms_cloud.kernel.database import Database

PATIENCE_S = 3.0

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "The database or the broker does not answer."}})
async def readyz(request: Request) -> Response:
    """The database answers, and live messages are being heard from the broker."""
    found = {
        "database": await _ask_database(request.app.state.database),
        "broker": _ask_hub(getattr(request.app.state, "live_hub", None)),
    }
    ill = [name for name, state in found.items() if state != "ok"]
    if not ill:
        return JSONResponse({"status": "ok", **found})
    body = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Not ready: " + "; ".join(f"{name}: {found[name]}" for name in ill) + ".",
    }
    return JSONResponse({**body, **found}, 503, media_type="application/problem+json")


async def _ask_database(database: Database) -> str:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await database.ping()
    except TimeoutError:
        return f"does not answer within {PATIENCE_S:.0f} s"
    except (SQLAlchemyError, OSError):
        return "does not answer"
    return "ok"


def _ask_hub(hub: Any) -> str:
    return "ok" if hub is not None and hub.connected else "is not connected"
