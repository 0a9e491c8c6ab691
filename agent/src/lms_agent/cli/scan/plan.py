"""What a scan asks on each line, and how long it waits there.

Neighbours: `command.py` makes it from the options, `lms_agent.scanning` asks it.
"""

from dataclasses import dataclass

from lms_protocol.instruments.model import Profile

from lms_agent.scanning import scanning, text_questions
from lms_agent.scanning.places import Place
from lms_agent.scanning.settings_order import LineSetting

SERIAL_TIMEOUT_S, TCP_TIMEOUT_S = 0.15, 0.5


@dataclass(frozen=True)
class Plan:
    """What is asked on each line.

    Attributes:
        settings: of serial lines, in the order in which they are tried.
        units: their numbers.
        timeout_s: for an answer; None: as the kind of line has it.
        every: whether all settings are tried, also after one was right.
        profiles: the models that are known.
        texts: whether instruments that talk in lines of text are asked, too.
    """

    settings: list[LineSetting]
    units: list[int]
    timeout_s: float | None
    every: bool = False
    profiles: tuple[Profile, ...] = ()
    texts: bool = True

    def timeout_at(self, place: Place) -> float:
        """For an answer there."""
        return self.timeout_s or (TCP_TIMEOUT_S if place.host else SERIAL_TIMEOUT_S)

    def survey_of(self, place: Place) -> scanning.Survey:
        """What is asked there."""
        timeout_s = self.timeout_at(place)
        return scanning.Survey(self.settings, self.units, timeout_s, self.profiles, self.every, self.texts)

    def questions_at(self, place: Place) -> int:
        """How many they are at most."""
        if place.host:
            return len(self.units)
        talkers = text_questions.text_profiles(self.profiles) if self.texts else []
        return len(self.units) * len(self.settings) + len(text_questions.questions(talkers, self.units))
