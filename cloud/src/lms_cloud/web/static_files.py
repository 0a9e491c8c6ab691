"""Static files: an address with `?v=<hash>` may be kept for a year, any other is asked for again each time."""

from pathlib import Path

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).resolve().parent / "static"
_YEAR_S = 365 * 24 * 3600


class VersionedStaticFiles(StaticFiles):
    """Serves web/static."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with how long it may be kept."""
        response = await super().get_response(path, scope)
        versioned = "v" in QueryParams(scope["query_string"])
        caching = f"public, max-age={_YEAR_S}, immutable" if versioned else "no-cache"
        response.headers["Cache-Control"] = caching
        return response
