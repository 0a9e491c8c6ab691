"""The web application: opens the database and the live hub, and includes every feature's routes.

`create_app` is the whole of it; cli/serve.py runs it under uvicorn, the tests as it is.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI

from lms_cloud.accounts import api as accounts_api
from lms_cloud.accounts.passwords import PasswordHasher
from lms_cloud.accounts.service import Accounts
from lms_cloud.fleet import api as fleet_api
from lms_cloud.kernel.clock import Clock
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.live import sockets as live_sockets
from lms_cloud.live.hub import LiveHub
from lms_cloud.operations import api as operations_api
from lms_cloud.organizations import api as organizations_api
from lms_cloud.telemetry import api as telemetry_api
from lms_cloud.telemetry.completeness import api as completeness_api
from lms_cloud.telemetry.dead_letters import api as dead_letters_api
from lms_cloud.telemetry.history.stream import HistoryStreams
from lms_cloud.web import api_docs, pages
from lms_cloud.web.browser_routes import BROWSER_ROUTES
from lms_cloud.web.csrf import FormCookieMiddleware, guard
from lms_cloud.web.errors import install_error_handlers
from lms_cloud.web.middleware import RequestLog, SecurityHeaders, SizeLimit
from lms_cloud.web.query_names import refuse_unknown_parameters
from lms_cloud.web.static_files import VersionedStaticFiles

STATEMENT_TIMEOUT_S = 15
STREAMS_PART = 4
"""One database connection in so many may be held by a streamed answer."""
_REST: tuple[APIRouter, ...] = (
    accounts_api.router,
    organizations_api.router,
    fleet_api.router,
    telemetry_api.router,
    dead_letters_api.router,
    completeness_api.router,
)
_OTHERS: tuple[APIRouter, ...] = (
    live_sockets.router,
    operations_api.router,
    api_docs.router,
    pages.router,
)


def create_app(settings: CloudSettings, *, clock: Clock | None = None, hasher: PasswordHasher | None = None) -> FastAPI:
    """Build the application.

    Its `state` has what routes need: `settings`, and from the start of its lifespan `database`, `accounts`, `live_hub`.

    Args:
        settings: where the database and the broker are, and what is allowed.
        clock: where `now` comes from; the machine's by default.
        hasher: how passwords are hashed; bcrypt with 12 rounds by default.

    Raises:
        SettingsError: the secret key is missing, short or an example.
    """
    settings.require_secret_key()
    database = Database.from_settings(
        settings, clock=clock, application_name="lms-cloud web", statement_timeout_s=STATEMENT_TIMEOUT_S
    )
    app = FastAPI(
        title="LMS evo",
        version="0.1.0",
        summary="Bioreactors: their readings, live and historical.",
        lifespan=_lifespan,
        dependencies=[Depends(guard)],
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
        routes=BROWSER_ROUTES,
    )
    app.state.settings = settings
    app.state.database = database
    app.state.accounts = Accounts(database, settings, hasher=hasher)
    app.state.history_streams = HistoryStreams(database, most=max(1, settings.database_pool_size // STREAMS_PART))
    _include_routes(app)
    install_error_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(FormCookieMiddleware, settings=settings)
    app.add_middleware(SizeLimit, max_bytes=settings.max_request_bytes)
    app.add_middleware(RequestLog)
    app.add_middleware(SecurityHeaders, settings=settings)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        database: Database = await stack.enter_async_context(app.state.database)
        await app.state.accounts.warm_up()
        hub = LiveHub(app.state.settings, database)
        app.state.live_hub = hub
        stack.push_async_callback(hub.stop)
        await hub.start()
        yield


def _include_routes(app: FastAPI) -> None:
    for router in _REST:
        app.include_router(router, dependencies=[Depends(refuse_unknown_parameters)])
    for router in _OTHERS:
        app.include_router(router)
    app.mount("/static", VersionedStaticFiles(), name="static")
