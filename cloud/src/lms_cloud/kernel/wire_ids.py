"""Wire ids: the names that organizations, agents and bioreactors have in MQTT topics."""

import re
import secrets
import unicodedata
from typing import Annotated

from lms_protocol.errors import TopicError
from lms_protocol.topics import check_id
from pydantic import AfterValidator

_MAX_SLUG = 40


def _check(text: str) -> str:
    try:
        return check_id(text, "wire id")
    except TopicError as error:
        raise ValueError(f"1 to 128 printable characters without + / #: {error.reason}") from error


WireId = Annotated[str, AfterValidator(_check)]
"""A text that may be one level of a topic."""


def wire_id_from(name: str) -> str:
    """A wire id that people recognize `name` in: "Böhm & Söhne" gives "bohm-sohne"."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_SLUG].rstrip("-")
    return slug or f"org-{secrets.token_hex(3)}"


def another_wire_id(wire_id: str) -> str:
    """`wire_id` with a random tail, for when it is taken."""
    return f"{wire_id[:_MAX_SLUG]}-{secrets.token_hex(3)}"
