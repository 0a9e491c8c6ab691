"""What may be sent yet: batches whose time may still be corrected are held back.

Neighbours: `lms_agent.timekeeping` holds and releases; `lms_agent.sending.conversation` obeys.
"""

from collections.abc import Mapping
from typing import Protocol

from lms_protocol.reading import Reading


class Holding(Protocol):
    """Says from which batch on nothing may be sent yet."""

    @property
    def first_held(self) -> int | None:
        """The lowest number that may not be sent yet; None if all may."""
        ...

    def presentable(self, latest: Mapping[int, Reading]) -> dict[int, Reading]:
        """Of the newest readings those that may be sent."""
        ...

    async def settle(self) -> None:
        """The next batches are about to be sent: make their time final, unless they must be held."""
        ...


class NothingHeld:
    """Everything may be sent."""

    @property
    def first_held(self) -> int | None:
        """Nothing is held."""
        return None

    def presentable(self, latest: Mapping[int, Reading]) -> dict[int, Reading]:
        """All of them."""
        return dict(latest)

    async def settle(self) -> None:
        """Nothing to do."""
