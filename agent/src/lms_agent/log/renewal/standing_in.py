"""A batch in the place of one that cannot be sent: damaged on the disk, or dropped for the limit of size.

Batches are acknowledged by number, without holes: a number that never came would hold up what the cloud knows of the
log for ever. So an empty batch goes out under it, with the gaps that are still known.

Neighbours: `lms_agent.sending.supply` and `lms_agent.log.renewal.predecessor` ask for it.
"""

from typing import Protocol

from lms_protocol.reading import Batch, Gap, TagDescription

STAND_IN_GAP_IDS = 1 << 62
"""Gap ids of stand-ins: this, and the batch's number. Negative ids are not allowed, small ones are the log's own."""


class Extents(Protocol):
    """What must be known of a log to stand in for its batches."""

    def extent(self, number: int) -> tuple[str, int, int]:
        """A batch's device, and when its readings were taken, ms UTC; KeyError if it is not there."""
        ...

    def tags(self) -> list[TagDescription]:
        """Every tag that the log ever knew."""
        ...

    def gaps_told_by(self, number: int) -> list[tuple[str, Gap]]:
        """The gaps that batch `number` was the last to tell of."""
        ...


def stand_in(log: Extents, number: int, reason: str) -> Batch:
    """A batch that stands in for number `number`, so that it neither blocks others nor goes unsaid. Reads the disk.

    If the batch's row is there, a gap over all tags of its device tells of the time of the lost readings. If it is not,
    it was dropped, and a batch of its own has told of that; then the gaps that it had told of itself are told again.
    """
    tags = log.tags()
    known = log.gaps_told_by(number)
    try:
        device, began_at_ms, ended_at_ms = log.extent(number)
    except KeyError:
        device = known[0][0] if known else tags[0].device if tags else ""
        return Batch(number, device, (), tuple(gap for owner, gap in known if owner == device))
    own = tuple(tag.number for tag in tags if tag.device == device and not tag.name.startswith("Sync/"))
    gap = Gap(STAND_IN_GAP_IDS + number, own, began_at_ms, ended_at_ms, reason)
    return Batch(number, device, (), (gap, *(gap for owner, gap in known if owner == device)))
