"""What the programs log while they are simulated: part of the trace, or dropped. Never on the terminal."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

AGENT = logging.getLogger("lms_agent")


@contextmanager
def quiet() -> Iterator[None]:
    """Drop all that is logged."""
    before = structlog.get_config()
    logging.disable(logging.CRITICAL)
    structlog.configure(
        processors=[_drop],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)


@contextmanager
def listening(note: Callable[[str], None]) -> Iterator[None]:
    """Note all that is logged; for use inside `quiet`."""

    def record(logger: Any, method: str, event: dict[str, Any]) -> Any:
        text = event.pop("event")
        note(f"ingest: {text} " + " ".join(f"{key}={value}" for key, value in event.items()))
        raise structlog.DropEvent

    before, level = structlog.get_config(), AGENT.level
    handler = _Notes(note)
    logging.disable(logging.NOTSET)
    AGENT.addHandler(handler)
    AGENT.setLevel(logging.INFO)
    AGENT.propagate = False
    structlog.configure(processors=[record], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
    try:
        yield
    finally:
        AGENT.removeHandler(handler)
        AGENT.setLevel(level)
        AGENT.propagate = True
        logging.disable(logging.CRITICAL)
        structlog.configure(**before)


class _Notes(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        self._note(f"agent: {record.getMessage()}")


def _drop(logger: Any, method: str, event: Any) -> Any:
    raise structlog.DropEvent
