"""What every wire has: an address, a fault that can be switched, a log of the requests it heard.

A wire never damages a reply on its own account: it hands reply and fault to its dialect, and what comes back goes
out through an `Outbox`, in order and at its time.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lms_firmware_sim.wires.faults import Fault, FaultKind

_REQUESTS_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Request:
    """One request that a wire heard and understood, whether or not it was answered.

    Attributes:
        unit: the Modbus unit; 0 on a text line.
        function: the Modbus function code; on a text line the command as heard, without its line end.
        address: first 0-based wire address; 0 where there is none.
        count: registers or bits asked for; 0 where there is none.
    """

    unit: int
    function: int | str
    address: int
    count: int


class Wire(ABC):
    """One simulated line. Use as an asynchronous context manager, or `start` and `stop`.

    Args:
        name: the wire's id, for messages.
        seed: of the generator that draws garbage and which replies are ill.

    Attributes:
        requests: what was asked, oldest first; bounded.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.requests: deque[Request] = deque(maxlen=_REQUESTS_KEPT)
        self.random = random.Random(seed)  # noqa: S311 - a reproducible fault, not a secret
        self._fault: Fault | None = None
        self._running = False

    @property
    @abstractmethod
    def address(self) -> str:
        """Where a client finds it: `127.0.0.1:5020` or a terminal's path."""

    @property
    def fault(self) -> Fault | None:
        """What is wrong at present; None: nothing. Set it from the event loop that the wire runs in."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        was_unplugged = self._is_unplugged
        self._fault = fault
        self._fault_changed()
        if not self._running or was_unplugged == self._is_unplugged:
            return
        if self._is_unplugged:
            self._unplug()
        else:
            self._plug_in()

    @property
    def _is_unplugged(self) -> bool:
        return self._fault is not None and self._fault.kind is FaultKind.UNPLUGGED

    def _fault_for(self, unit: int | str | None) -> Fault | None:
        """The fault that this one reply suffers, counted; None for a sound reply."""
        fault = self._fault
        if fault is None or not fault.concerns(unit):
            return None
        if fault.share < 1.0 and self.random.random() >= fault.share:
            return None
        self._fault = fault.after_one_more()
        return fault

    @abstractmethod
    def _fault_changed(self) -> None:
        """For dialects that remember something while a fault lasts."""

    @abstractmethod
    def _plug_in(self) -> None:
        """Make the wire reachable; needs the running loop, does not wait.

        Raises:
            WireStartError: something stands in the way.
        """

    @abstractmethod
    def _unplug(self) -> None:
        """Make the wire unreachable and drop what is on it; does not wait."""

    @abstractmethod
    async def _settle(self) -> None:
        """Wait until nothing of the wire is left running."""

    async def start(self) -> None:
        """Lay the wire.

        Raises:
            WireStartError: something stands in the way.
        """
        asyncio.get_running_loop()
        if not self._is_unplugged:
            self._plug_in()
        self._running = True

    async def stop(self) -> None:
        """Take the wire away; nothing of it is left running."""
        if self._running:
            self._running = False
            self._unplug()
        await self._settle()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
