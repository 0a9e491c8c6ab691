"""What an instrument says of a calibration that it was just told: did it take it, and if not, why.

Between a `ModbusMaster` and `lms_agent.bench`; the words stand in the instrument's profile. Instruments of the other
dialects say it in their answer to the command itself.
"""

from collections.abc import Iterable

from lms_protocol.instruments.calibration import Verdict
from lms_protocol.reading import Quality

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import FUNCTIONS, ReadRequest
from lms_agent.drivers.register_coding import word_reader
from lms_agent.drivers.status_words import StatusJudge


async def ask_verdict(master: ModbusMaster, unit: int, verdict: Verdict) -> int:
    """Read the status word of a calibration, before polls that wait.

    Raises:
        InstrumentError: as `ModbusMaster.read`.
    """
    first, count = verdict.address, verdict.width
    if verdict.block is not None:
        first, count = verdict.block.address, verdict.block.count
    request = ReadRequest(unit, FUNCTIONS[verdict.register_], first, count)
    reply = await master.read(request, urgent=True)
    return word_reader(verdict)(reply.data, 2 * (verdict.address - first))


def refusal_of(word: int, verdict: Verdict, part: str, others: Iterable[str]) -> str:
    """Why the instrument did not take a reference; "" if it did.

    Args:
        part: the reference's name.
        others: names of the other references: what begins with one of them is not about this one.
    """
    prefixes = tuple(f"{other}:" for other in others if other != part)
    foreign = 0
    for condition in verdict.conditions:
        if prefixes and condition.words.startswith(prefixes):
            foreign |= condition.mask
    quality, words = StatusJudge(verdict).judge(word & ~foreign)
    return words if quality is not Quality.GOOD else ""
