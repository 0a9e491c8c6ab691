"""Logs of the cloud: one JSON object a line on standard error, with the correlation id of the request.

What arrives from outside is a value in JSON, so CR and LF in it are escaped and cannot begin a line of their own. What
is named like a secret is never written.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

_SECRETS = ("password", "secret", "token", "authorization", "cookie")
_HIDDEN = "(hidden)"


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's logs to `stream` (standard error) as JSON, from `level` on."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("uvicorn.access").disabled = True  # web/middleware.py writes that line, with the correlation id
    for name in ("uvicorn", "uvicorn.error", "alembic"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True


def _hide_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    for key in event:
        if any(word in key.lower() for word in _SECRETS):
            event[key] = _HIDDEN
    return event
