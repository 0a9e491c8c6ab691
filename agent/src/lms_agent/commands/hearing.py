"""What a host's DCMD asks for.

Neighbours: `lms_protocol.edge` has read the message; `lms_agent.commands.commanding` takes what comes of it.
"""

from hashlib import blake2b

from lms_protocol.commands import Note, SetPoint, Source
from lms_protocol.edge import TagCommand
from lms_protocol.errors import PayloadError

PLAIN_BY = "a host that does not say who"
PLAIN_REASON = "not said"


def set_point_of(heard: TagCommand, plain_lifetime_ms: int) -> SetPoint:
    """The command in a DCMD.

    Args:
        plain_lifetime_ms: how long one without `Sync/Command` is valid.

    Raises:
        PayloadError: it says not when it was given, or its `Sync/Command` is not in its form.
    """
    tag = str(heard.named) if heard.tag is None else heard.tag.name
    if heard.timestamp_ms is None:
        raise PayloadError("says not when it was issued", metric=tag)
    note = _plain(heard, tag, plain_lifetime_ms) if heard.note is None else Note.from_text(heard.note)
    return SetPoint(
        note.id,
        heard.device,
        tag,
        heard.value,
        note.by,
        note.reason,
        Source.REMOTE,
        heard.timestamp_ms,
        note.valid_until_ms,
    )


def _plain(heard: TagCommand, tag: str, lifetime_ms: int) -> Note:
    """What another host would have said; the same value for the same tag at the same time is the same command."""
    issued_at_ms = heard.timestamp_ms or 0
    said = repr((heard.device, tag, heard.value, issued_at_ms)).encode()
    return Note(
        f"plain-{blake2b(said, digest_size=12).hexdigest()}", PLAIN_BY, PLAIN_REASON, issued_at_ms + lifetime_ms
    )
