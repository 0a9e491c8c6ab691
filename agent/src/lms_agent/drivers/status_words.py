"""What an instrument says of its own values: status words and unit codes, judged.

Used by `modbus_registers.py`; what the words mean stands in the configuration or in the instrument's profile
(`lms_protocol.instruments.registers`).
"""

from typing import NamedTuple

from lms_protocol.instruments.registers import StatusMeaning, StatusQuality, UnitCode
from lms_protocol.reading import Quality

QUALITIES: dict[StatusQuality, Quality] = {
    "good": Quality.GOOD,
    "uncertain": Quality.UNCERTAIN,
    "bad": Quality.BAD,
}
_MOST_REMEMBERED = 64


class Verdict(NamedTuple):
    """What a status word says.

    Attributes:
        quality: the worst of all that it says.
        words: for people; "" if it says nothing.
    """

    quality: Quality
    words: str


class StatusJudge:
    """Judges the status words of one point; what a word came to once is remembered."""

    def __init__(self, meaning: StatusMeaning) -> None:
        self._mask = meaning.mask
        self._otherwise = QUALITIES[meaning.otherwise]
        self._conditions = meaning.conditions
        self._known = 0
        for condition in meaning.conditions:
            self._known |= condition.mask
        self._verdicts: dict[int, Verdict] = {}

    def judge(self, word: int) -> Verdict:
        """What a word says."""
        verdict = self._verdicts.get(word)
        if verdict is None:
            if len(self._verdicts) >= _MOST_REMEMBERED:
                self._verdicts.clear()
            verdict = self._verdicts[word] = self._judged(word & self._mask)
        return verdict

    def _judged(self, word: int) -> Verdict:
        quality, words = Quality.GOOD, []
        for condition in self._conditions:
            found = word & condition.mask
            if found == condition.equals if condition.equals is not None else found:
                quality = min(quality, QUALITIES[condition.quality])
                words.append(condition.words)
        if unknown := word & ~self._known:
            quality = min(quality, self._otherwise)
            words.append(f"status bits 0x{unknown:x}, whose meaning is not known")
        return Verdict(quality, "; ".join(words))


def unit_named(code: int, unit_code: UnitCode) -> str:
    """A unit code for people: the unit, or the code itself."""
    return next((name.unit for name in unit_code.names if name.code == code), f"a unit of code 0x{code:x}")
