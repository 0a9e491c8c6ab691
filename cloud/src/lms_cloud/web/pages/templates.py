"""The Jinja environment: where templates lie, what they may call, and how a page is made of one.

Neighbours: every pages module renders through `render`; web/static holds what `asset` names.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lms_cloud.web.pages import wording

WEB = Path(__file__).resolve().parent.parent
STATIC = WEB / "static"


@cache
def asset(path: str) -> str:
    """Give the address of a static file, with a part of its hash so that a new version is fetched anew."""
    return f"/static/{path}?v={sha256((STATIC / path).read_bytes()).hexdigest()[:10]}"


@cache
def environment() -> Environment:
    """Build the environment once: everything escaped, an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset
    made.filters.update(
        age=wording.age,
        clock=wording.clock,
        date=wording.date,
        iso=wording.iso,
        ms=wording.milliseconds,
        utc=wording.utc,
    )
    return made


def render(template: str, context: Mapping[str, object], status_code: int = 200) -> HTMLResponse:
    """Make a page or a part of one; the answer is never kept by a cache.

    Args:
        template: path under web/templates.
        context: what the template names; `now` (aware) is filled in where missing.
    """
    now = context.get("now")
    at = now if isinstance(now, datetime) else datetime.now(UTC)
    whole = {"identity": None, "area": "", "csrf_token": "", **context, "now": at, "now_ms": wording.milliseconds(at)}
    text = environment().get_template(template).render(whole)
    return HTMLResponse(text, status_code=status_code, headers={"Cache-Control": "no-store"})
