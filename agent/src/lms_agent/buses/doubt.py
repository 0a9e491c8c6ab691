"""Which replies of a unit may still be under way, and so could be mistaken for the answer to the next request.

A Modbus reply to a read does not name the address it was read from, one to a write of many registers not the values.
After a request that got no sound answer, a reply of the same shape (function, number of bytes; of a write, what it
repeats) may belong to it, however late it comes: some gateways and instruments answer each request with the reply to
the one before, for ever. So such a request leaves a doubt (`owed.py`). While it lasts, no other of its shape is sent;
instead a probe goes first, a read of another shape. Its reply proves that nothing older can come any more.

    state      event                                           next
    sure       sound reply                                     sure
    sure       timeout, or a reply that was refused            in doubt {shape}
    in doubt   request of a shape not in doubt, answered       sure
    in doubt   request of a shape not in doubt, unanswered     in doubt {…, shape}
    in doubt   any reply of a shape in doubt, even a late one  without the oldest such, and all before it

Used by `modbus.py`; instruments answer in the order in which they were asked.
"""

from lms_agent.buses.modbus_frames import (
    READ_COILS,
    READ_HOLDING,
    TWIN,
    WRITE_COIL,
    WRITE_COILS,
    ReadRequest,
    Request,
    Shape,
    WriteRequest,
)
from lms_agent.buses.owed import Owed


class Doubt:
    """The open requests of one unit."""

    def __init__(self) -> None:
        self._owed: Owed[Request] = Owed()

    def __bool__(self) -> bool:
        """Whether any reply may still be under way."""
        return bool(self._owed)

    def asked(self, request: Request, now_s: float) -> None:
        """A request is being sent; it is open until it is answered."""
        self._owed.ask(request.shape, request, now_s)

    def answered(self, shape: Shape) -> None:
        """A reply of this shape has come, in time or late."""
        self._owed.answer(shape)

    def refused(self, function: int) -> None:
        """An exception has come; it only shows the function, so it may be the answer to the oldest such request."""
        oldest = next((request for request in self._owed.open if request.function == function), None)
        if oldest is not None:
            self._owed.answer(oldest.shape)

    def could_be_answered_by_an_older_reply(self, request: Request) -> bool:
        """Whether a reply to `request` could not be told from one that is still under way.

        Before a write there must be no doubt at all: what it comes to shall be known.
        """
        if isinstance(request, WriteRequest):
            return bool(self)
        return self._owed.oldest(request.shape) is not None

    def probe_for(self, request: Request) -> ReadRequest:
        """A harmless read whose reply cannot be mistaken for the one to `request`, and proves as much as can be.

        The other function of the pair comes first: if the unit does not have it, even the exception proves it. Once
        all have been asked in vain, the one that was first asked last is next.
        """
        own, count = _read_like(request)
        twin = TWIN[own]
        step = 16 if own in (1, 2) else 1
        candidates = (
            ReadRequest(request.unit, twin, request.address, 1),
            ReadRequest(request.unit, own, request.address, count - step if count > step else count + step),
            ReadRequest(request.unit, twin, request.address, 1 + step),
        )
        positions = [self._owed.oldest(candidate.shape) for candidate in candidates]
        return max(zip(positions, candidates, strict=True), key=_how_late)[1]


def _how_late(probe: tuple[int | None, ReadRequest]) -> float:
    """Where the oldest open request of a probe's shape stands; one that is not open is best."""
    return float("inf") if probe[0] is None else probe[0]


def _read_like(request: Request) -> tuple[int, int]:
    """Function and count of a read of what `request` is about."""
    if isinstance(request, ReadRequest):
        return request.function, request.count
    return (READ_COILS if request.function in (WRITE_COIL, WRITE_COILS) else READ_HOLDING), 1
