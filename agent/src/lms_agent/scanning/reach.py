"""Which registers of a unit can be read, and what they hold.

A unit refuses a block in which one register is missing, so what is refused is asked for again in halves; a unit
that only answers for whole blocks of its own is asked for those, too.
"""

from collections.abc import Callable, Sequence

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import ReadRequest
from lms_agent.errors import InstrumentBusy, InstrumentRefused

Words = dict[int, int]
"""By address, counted from 0, what the register holds: 0 to 65535."""

LARGEST = 64
LENGTHS = (4, 10, 20, 2, 1)
"""Of blocks that are tried: some units, such as Hamilton's sensors, answer for ten registers and nothing shorter."""
UNKNOWN_FUNCTION = 1


class Reach:
    """Reads whatever one unit lets be read.

    Args:
        master: of its line.
        unit: its number.
        reading: told each address before it is asked.
    """

    def __init__(self, master: ModbusMaster, unit: int, reading: Callable[[int], None] = lambda _: None) -> None:
        self._master = master
        self._unit = unit
        self._reading = reading

    async def words(self, function: int, first: int, last: int) -> Words:
        """Everything that can be read from `first` to `last`.

        Args:
            function: 3 for holding, 4 for input registers.

        Raises:
            InstrumentError: the unit does not answer, or not soundly.
        """
        words: Words = {}
        for at in range(first, last + 1, LARGEST):
            if not await self._read_into(words, function, at, min(LARGEST, last - at + 1)):
                break
        return words

    async def _read_into(self, words: Words, function: int, at: int, count: int) -> bool:
        """Read a block, or its halves; False if the unit does not have the function at all."""
        try:
            words.update(await self.block(function, at, count))
        except InstrumentRefused as error:
            if error.code == UNKNOWN_FUNCTION:
                return False
            half = count // 2
            if half:
                one = await self._read_into(words, function, at, half)
                return one and await self._read_into(words, function, at + half, count - half)
        return True

    async def around(self, function: int, addresses: Sequence[int]) -> Words:
        """What can be read at these addresses and behind each, in blocks of any length that the unit takes.

        Raises:
            InstrumentError: the unit does not answer, or not soundly.
        """
        words: Words = {}
        for address in addresses:
            for count in LENGTHS:
                if not 0 <= address <= 65_536 - count:
                    continue
                try:
                    words.update(await self.block(function, address, count))
                    break
                except InstrumentRefused as error:
                    if error.code == UNKNOWN_FUNCTION:
                        return words
                except InstrumentBusy:
                    continue
        return words

    async def block(self, function: int, address: int, count: int) -> Words:
        """One block.

        Raises:
            InstrumentError: as `ModbusMaster.read`.
        """
        self._reading(address)
        data = (await self._master.read(ReadRequest(self._unit, function, address, count))).data
        return {address + step: int.from_bytes(data[2 * step : 2 * step + 2]) for step in range(count)}
