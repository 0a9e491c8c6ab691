"""Which replies of a unit may still be under way, and so could be mistaken for the answer to the next request.

A Modbus reply does not name the address it was read from. After a request that got no sound answer, a reply of the
same shape (function, number of bytes) may belong to it, however late it comes: some gateways and instruments answer
each request with the reply to the one before, for ever. So such a request leaves a doubt. The next request must have a
shape that no open request has; only a reply of that very shape proves that requests and replies are in step again.

    state      event                                        next
    sure       sound reply                                  sure
    sure       timeout, or a reply that was refused         in doubt {shape}
    in doubt   request of a shape not in doubt, answered    sure
    in doubt   request of a shape not in doubt, unanswered  in doubt {…, shape}
    in doubt   a late reply came and was thrown away        without its shape

Used by `modbus.py`; instruments answer in the order in which they were asked.
"""

from collections import deque

from lms_agent.buses.modbus_frames import TWIN, ReadRequest

_MOST_OPEN = 3
"""Shapes remembered; one less than a unit has probes, so that there always is one to try."""

Shape = tuple[int, int]


def shape_of(request: ReadRequest) -> Shape:
    """What can be seen in a reply of which request it answers: function and number of data bytes."""
    return request.function, request.byte_count


class Doubt:
    """The open requests of one unit."""

    def __init__(self) -> None:
        self._open: deque[Shape] = deque(maxlen=_MOST_OPEN)

    def __bool__(self) -> bool:
        """Whether any reply may still be under way."""
        return bool(self._open)

    def unanswered(self, request: ReadRequest) -> None:
        """A request got no sound answer."""
        shape = shape_of(request)
        if shape in self._open:
            self._open.remove(shape)
        self._open.append(shape)

    def came_late(self, function: int, byte_count: int) -> None:
        """A late reply was seen and thrown away; it is no longer under way."""
        if (function, byte_count) in self._open:
            self._open.remove((function, byte_count))

    def could_be_answered_by_an_older_reply(self, request: ReadRequest) -> bool:
        """Whether a reply to `request` could not be told from one that is still under way."""
        return shape_of(request) in self._open

    def exception_proves_nothing(self, request: ReadRequest) -> bool:
        """Whether an exception could be the answer to an open request instead; it only shows the function."""
        return any(function == request.function for function, _ in self._open)

    def settled(self) -> None:
        """Replies are in step again."""
        self._open.clear()

    def probe_for(self, request: ReadRequest) -> ReadRequest:
        """A harmless read whose reply cannot be mistaken for one that is under way.

        The other function of the pair comes first: if the unit does not have it, even the exception proves it.
        """
        twin = TWIN[request.function]
        step = 16 if request.function in (1, 2) else 1
        other_count = request.count - step if request.count > step else request.count + step
        candidates = (
            ReadRequest(request.unit, twin, request.address, 1),
            ReadRequest(request.unit, request.function, request.address, other_count),
            ReadRequest(request.unit, twin, request.address, 1 + step),
            request,
        )
        for candidate in candidates:
            if shape_of(candidate) not in self._open:
                return candidate
        return request
