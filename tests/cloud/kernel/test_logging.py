"""Logs: one line for one event whatever is in it, and no secret."""

import io
import json
import logging

import pytest
import structlog
from lms_cloud.kernel.logging import configure_logging


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    configure_logging("info", written)
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_line_breaks_from_outside_cannot_begin_a_line(stream) -> None:
    structlog.get_logger("t").info("login_refused", email='a@b\r\n{"event": "forged"}')
    logging.getLogger("library").warning("said %s", "x\ny")
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["login_refused", "said x\ny"]


def test_what_is_named_like_a_secret_is_hidden(stream) -> None:
    structlog.get_logger("t").info("x", password="p1", access_token="p2", LMS_SECRET_KEY="p3", Authorization="p4")
    written = stream.getvalue()
    assert not [secret for secret in ("p1", "p2", "p3", "p4") if secret in written]


def test_lines_carry_the_correlation_id_and_the_time(stream) -> None:
    with structlog.contextvars.bound_contextvars(correlation_id="abc"):
        structlog.get_logger("t").info("x")
        logging.getLogger("library").error("y")
    for line in stream.getvalue().splitlines():
        assert json.loads(line)["correlation_id"] == "abc"
        assert json.loads(line)["timestamp"].endswith("Z")
