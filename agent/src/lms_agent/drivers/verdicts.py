"""What an instrument says of a calibration that it was just told: did it take it, and if not, why.

Between a `ModbusMaster` and `lms_agent.bench`; the words stand in the instrument's profile. Instruments of the other
dialects say it in their answer to the command itself.
"""

from collections.abc import Iterable
from typing import NamedTuple

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


class Refusal(NamedTuple):
    """What speaks against an instrument's having taken a reference.

    Attributes:
        words: as it says; "" if nothing does.
        is_certain: whether it certainly did not; else it says something that nobody understands.
    """

    words: str
    is_certain: bool


def refusal_of(word: int, verdict: Verdict, part: str, others: Iterable[str]) -> Refusal:
    """What speaks against an instrument's having taken a reference.

    Args:
        part: the reference's name.
        others: names of the other references: what begins with one of them is not about this one.
    """
    prefixes = tuple(f"{other}:" for other in others if other != part)
    foreign = 0
    for condition in verdict.conditions:
        if prefixes and condition.words.startswith(prefixes):
            foreign |= condition.mask
    known = 0
    for condition in verdict.conditions:
        known |= condition.mask
    judge = StatusJudge(verdict)
    quality, words = judge.judge(word & ~foreign & known)
    if quality is not Quality.GOOD:
        return Refusal(words, is_certain=True)
    quality, words = judge.judge(word & ~foreign)
    return Refusal("" if quality is Quality.GOOD else words, is_certain=False)
