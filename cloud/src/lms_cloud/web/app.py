"""The web application: opens the database and the live hub, and includes every feature's routes.

`create_app` is the whole of it; cli/serve.py runs it under uvicorn, the tests as it is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from lms_cloud.kernel.clock import Clock, SystemClock
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.web.errors import install_error_handlers

STATEMENT_TIMEOUT_S = 15


def create_app(settings: CloudSettings, *, clock: Clock | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: where the database and the broker are, and what is allowed.
        clock: where `now` comes from; the machine's by default.

    Raises:
        SettingsError: the secret key is missing, short or an example.
    """
    settings.require_secret_key()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Database(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool_size,
            clock=clock or SystemClock(),
            application_name="lms-cloud web",
            statement_timeout_s=STATEMENT_TIMEOUT_S,
        ) as database:
            app.state.database = database
            yield

    app = FastAPI(title="LMS evo", version="0.1.0", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.settings = settings
    install_error_handlers(app)
    return app
