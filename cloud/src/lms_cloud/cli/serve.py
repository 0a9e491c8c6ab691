"""`lms-cloud serve`: pages, REST and WebSockets under uvicorn, until SIGTERM or SIGINT."""

import os
import socket

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from lms_cloud.kernel.errors import SettingsError
from lms_cloud.kernel.logging import configure_logging
from lms_cloud.kernel.settings import CloudSettings, load_settings
from lms_cloud.web.app import create_app

GRACE_S = 10
MAX_MESSAGE_BYTES = 64 * 1024


def serve() -> None:
    """Serve pages, REST and WebSockets at LMS_LISTEN with LMS_WORKERS processes, until SIGTERM or SIGINT."""
    settings = load_settings()
    settings.require_secret_key()
    configure_logging(settings.log_level)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    structlog.get_logger(__name__).info("listening", host=host, port=port, public_url=settings.public_url)
    config = server_config(settings)
    if settings.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
    else:
        config.load_app()
        uvicorn.Server(config).run(sockets=[listener])


def server_config(settings: CloudSettings) -> uvicorn.Config:
    """How uvicorn runs the application: graceful end, no banner, forwarded addresses only from trusted proxies."""
    return uvicorn.Config(
        "lms_cloud.cli.serve:worker_app",
        factory=True,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=MAX_MESSAGE_BYTES,
    )


def worker_app() -> FastAPI:
    """The application of one worker process."""
    settings = load_settings()
    configure_logging(settings.log_level)
    return create_app(settings)


def _listen(settings: CloudSettings) -> socket.socket:
    host, port = settings.listen.host, settings.listen.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = f"says {host}:{port}, where nothing can listen: {os.strerror(error.errno or 0)}"
        raise SettingsError("LMS_LISTEN", reason, "Choose another port, or stop what listens there.") from error
    listener.set_inheritable(True)
    return listener
