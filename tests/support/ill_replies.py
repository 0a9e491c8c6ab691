"""Counts how many of a simulated wire's replies suffer its fault."""

from lms_firmware_sim.wires import Fault
from lms_firmware_sim.wires.wire import Wire


class IllReplies:
    """Looks over a wire's shoulder while it chooses which replies are ill.

    Attributes:
        count: ill replies so far.
    """

    def __init__(self, wire: Wire) -> None:
        self.count = 0
        self._choose = wire._fault_for
        wire._fault_for = self._counted  # type: ignore[method-assign]

    def _counted(self, unit: int | None) -> Fault | None:
        found = self._choose(unit)
        self.count += found is not None
        return found
