"""Which replies of a unit may still be under way, and so could be mistaken for the answer to the next request.

A Modbus reply to a read does not name the address it was read from, one to a write of many registers not the values.
After a request that got no sound answer, a reply of the same shape (function, number of bytes; of a write, what it
repeats) may belong to it, however late it comes: some gateways and instruments answer each request with the reply to
the one before, for ever. So such a request leaves a doubt. The next request must have a shape that no open request has;
only a reply of that very shape proves that requests and replies are in step again.

    state      event                                        next
    sure       sound reply                                  sure
    sure       timeout, or a reply that was refused         in doubt {shape}
    in doubt   request of a shape not in doubt, answered    sure
    in doubt   request of a shape not in doubt, unanswered  in doubt {…, shape}
    in doubt   a late reply came and was thrown away        without its shape

Used by `modbus.py`; instruments answer in the order in which they were asked.
"""

from collections import deque

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

_MOST_OPEN = 3
"""Shapes remembered; one less than a unit has probes, so that there always is one to try."""


class Doubt:
    """The open requests of one unit."""

    def __init__(self) -> None:
        self._open: deque[Shape] = deque(maxlen=_MOST_OPEN)

    def __bool__(self) -> bool:
        """Whether any reply may still be under way."""
        return bool(self._open)

    def unanswered(self, request: Request) -> None:
        """A request got no sound answer."""
        shape = request.shape
        if shape in self._open:
            self._open.remove(shape)
        self._open.append(shape)

    def came_late(self, shape: Shape) -> None:
        """A late reply was seen and thrown away; it is no longer under way."""
        if shape in self._open:
            self._open.remove(shape)

    def could_be_answered_by_an_older_reply(self, request: Request) -> bool:
        """Whether a reply to `request` could not be told from one that is still under way.

        Before a write there must be no doubt at all: what it comes to shall be known.
        """
        if isinstance(request, WriteRequest):
            return bool(self)
        return request.shape in self._open

    def exception_proves_nothing(self, request: Request) -> bool:
        """Whether an exception could be the answer to an open request instead; it only shows the function."""
        return any(function == request.function for function, _ in self._open)

    def settled(self) -> None:
        """Replies are in step again."""
        self._open.clear()

    def probe_for(self, request: Request) -> ReadRequest:
        """A harmless read whose reply cannot be mistaken for one that is under way.

        The other function of the pair comes first: if the unit does not have it, even the exception proves it.
        """
        own, count = _read_like(request)
        twin = TWIN[own]
        step = 16 if own in (1, 2) else 1
        candidates = (
            ReadRequest(request.unit, twin, request.address, 1),
            ReadRequest(request.unit, own, request.address, count - step if count > step else count + step),
            ReadRequest(request.unit, twin, request.address, 1 + step),
            ReadRequest(request.unit, own, request.address, count),
        )
        return next((candidate for candidate in candidates if candidate.shape not in self._open), candidates[-1])


def _read_like(request: Request) -> tuple[int, int]:
    """Function and count of a read of what `request` is about."""
    if isinstance(request, ReadRequest):
        return request.function, request.count
    return (READ_COILS if request.function in (WRITE_COIL, WRITE_COILS) else READ_HOLDING), 1
