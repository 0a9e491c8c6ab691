"""Whether a Modbus instrument is the model that its settings are for; asked before its values are believed.

Two sensors of one family have their values in the same registers: with swapped cables or units, oxygen would be logged
as pH. Around `modbus_registers.py`, for instruments whose profile says how the model is recognised: the question goes
out before the first reading, and again after every silence and whenever the port was opened: another one may have been
plugged in. Instruments
that talk in lines say what they are to their own drivers.
"""

from collections.abc import Sequence

from lms_protocol.instruments.calibration import Step
from lms_protocol.instruments.facts import RegisterIdentity
from lms_protocol.reading import Value

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import FUNCTIONS, ReadRequest
from lms_agent.drivers.driver import Driver, Failure, Go, Outcome, Written, always, unless_reopened
from lms_agent.errors import InstrumentError, InstrumentRefused, PortError, ReplyTimeout, WrongInstrument
from lms_agent.settings.dialects.modbus import ModbusInstrument


class Recognised:
    """A driver that first makes sure whom it talks to.

    Args:
        driver: reads and writes the instrument.
        instrument: unit and profile.
        identity: what must stand in its registers.
        master: of the line that the instrument hangs on.
        numbers: tag numbers, one per point.
    """

    def __init__(
        self,
        driver: Driver,
        instrument: ModbusInstrument,
        identity: RegisterIdentity,
        master: ModbusMaster,
        numbers: Sequence[int],
    ) -> None:
        self._driver = driver
        self._wanted = instrument.profile or instrument.id
        self._identity = identity
        self._master = master
        self._tags = tuple(numbers)
        function = FUNCTIONS[identity.register_]
        self._question = ReadRequest(instrument.unit, function, identity.address, identity.count)
        self._known_at: int | None = None  # which opening of the port it was recognised at

    async def read(self) -> Outcome:
        """Ask who it is if that is not known, then for everything."""
        try:
            await self._recognise()
        except InstrumentError as error:
            return Outcome([], [Failure(self._tags, error)])
        outcome = await self._driver.read()
        if self._known_at != self._master.openings:  # the port was lost, and has just been opened for these readings
            return await self.read()
        if any(_may_be_another(failure.error) for failure in outcome.failures):
            self._known_at = None
        return outcome

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Ask who it is if that is not known, then write; see `Driver.write`."""
        await self._recognise()
        return await self._driver.write(index, value, unless_reopened(self._master, go))

    async def tell(self, step: Step, reference: float, go: Go = always) -> Written:
        """Ask who it is if that is not known, then tell it; see `Driver.tell`."""
        await self._recognise()
        return await self._driver.tell(step, reference, unless_reopened(self._master, go))

    async def _recognise(self) -> None:
        if self._known_at == self._master.openings:
            return
        unit = self._question.unit
        try:
            data, _ = await self._master.read(self._question)
        except InstrumentRefused as error:
            raise WrongInstrument(self._master.port, unit, self._wanted, "") from error
        if not self._identity.fits(data):
            found = self._identity.shown(data) or data.hex(" ")
            raise WrongInstrument(self._master.port, unit, self._wanted, found)
        self._known_at = self._master.openings


def _may_be_another(error: InstrumentError) -> bool:
    """Whether somebody may have plugged in another instrument meanwhile."""
    return isinstance(error, PortError | ReplyTimeout)
