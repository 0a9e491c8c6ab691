"""Instruments for `lms-agent init`: from an option, or asked for one by one."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from lms_protocol.errors import LmsError
from lms_protocol.instruments.catalogue import Catalogue
from lms_protocol.instruments.model import Profile

from lms_agent.buses.present import present_ports
from lms_agent.cli.init.questions import Questions
from lms_agent.cli.scan.progress import Progress
from lms_agent.scanning.places import places
from lms_agent.scanning.scanning import Found, Survey, scan
from lms_agent.scanning.settings_order import to_try
from lms_agent.settings import default_path
from lms_agent.starting.answers import InstrumentAnswer, PointAnswer
from lms_agent.starting.drafting import Draft, DraftError, Where, fitting_link, hangs_at
from lms_agent.starting.writing import text as quoted

_KEYS = ("profile", "port", "host", "unit", "bioreactor", "id", "baud", "parity", "stop_bits")
_MOST_UNITS = 16
OTHER = "other"
"""Stands for a Modbus instrument without a profile."""


def from_option(text: str, draft: Draft, catalogue: Catalogue) -> InstrumentAnswer:
    """An instrument from `profile=…,port=…,unit=…`.

    Raises:
        LmsError: it says too little, too much, or what does not fit.
    """
    said: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or not value or key not in _KEYS:
            raise DraftError(
                f"found --instrument {text!r}; allowed: NAME=VALUE with commas between, of {', '.join(_KEYS)}"
            )
        said[key] = value
    if "profile" not in said or ("port" in said) == ("host" in said):
        raise DraftError(f"found --instrument {text!r}; allowed: profile=…, and port=… (serial) or host=… (TCP)")
    for key in ("baud", "stop_bits"):
        if key in said and not said[key].isdigit():
            raise DraftError(f"found {key}={said[key]} in --instrument {text!r}; allowed: a whole number")
    place = Where.of(said["host"]) if "host" in said else Where(port=said["port"])
    where = Where(
        place.port,
        place.host,
        place.tcp_port,
        baud=int(said["baud"]) if "baud" in said else None,
        parity=said.get("parity"),
        stop_bits=int(said["stop_bits"]) if "stop_bits" in said else None,
    )
    bioreactor = said.get("bioreactor") or (draft.bioreactors[0][0] if len(draft.bioreactors) == 1 else "")
    if not bioreactor:
        raise DraftError(f"found --instrument {text!r}; allowed: bioreactor=… as well, for there are several")
    unit = said.get("unit")
    return draft.add(
        catalogue.get(said["profile"]),
        where,
        bioreactor=bioreactor,
        unit=int(unit) if unit is not None and unit.isdigit() else unit,
        id_=said.get("id"),
    )


def ask_instruments(questions: Questions, draft: Draft, catalogue: Catalogue) -> None:
    """One place after another, until there are enough."""
    profiles = [profile for profile in catalogue if profile.points]
    while True:
        try:
            for answer in _ask_place(questions, draft, profiles):
                questions.tell(f"{answer.id} is on {answer.bus}.")
        except LmsError as error:
            questions.complain(str(error))
            if draft.instruments and not questions.yes("Try again?", default=True):
                return
            continue
        if not questions.yes("Another instrument?", default=False):
            return


def _ask_place(questions: Questions, draft: Draft, profiles: list[Profile]) -> list[InstrumentAnswer]:
    """What hangs at one place: what is found there, or what it is said to be."""
    where = _ask_where(questions)
    if draft.line_at(where) is None and questions.yes("Look what hangs there now? Only reads", default=True):
        found = look(where, profiles)
        for one in found:
            questions.tell(_shown(one))
        if found and questions.yes("Take it?" if len(found) == 1 else "Take them?", default=True):
            return [_take(questions, draft, one, where, profiles) for one in found]
        if not found:
            questions.complain("nothing that a profile knows answers there; you can say what it is all the same")
    return [_ask_model(questions, draft, where, profiles)]


def look(where: Where, profiles: Sequence[Profile]) -> list[Found]:
    """The instruments at a place whose model is known for sure.

    Raises:
        LmsError: the place cannot be used now.
    """
    (place,) = places([str(where)], default_path())
    if place.obstacle:
        raise DraftError(f"{place.name}: {place.obstacle}")
    timeout_s = 0.5 if place.host else 0.15
    survey = Survey(list(to_try()), range(1, _MOST_UNITS + 1), timeout_s, tuple(profiles))
    progress = Progress(len(survey.units) * (1 if place.host else len(survey.settings)), timeout_s, quiet=False)

    async def collect() -> list[Found]:
        return [found async for found in scan(place, survey, progress.asking) if found.model and found.model.sure]

    try:
        return asyncio.run(collect())
    finally:
        progress.clear()


def _shown(found: Found) -> str:
    unit = "" if found.heard.unit is None else f", unit {found.heard.unit}"
    setting = "" if found.setting is None else f" at {found.setting}"
    return f"{found.model.name if found.model else ''}{unit}{setting}"


def _take(questions: Questions, draft: Draft, found: Found, where: Where, profiles: list[Profile]) -> InstrumentAnswer:
    profile = next(one for one in profiles if found.model is not None and one.id == found.model.profile)
    if found.setting is not None:
        where = replace(where, baud=found.setting.baud, parity=found.setting.parity, stop_bits=found.setting.stop_bits)
    bioreactor = _ask_bioreactor(questions, draft, profile.id)
    return draft.add(profile, where, bioreactor=bioreactor, unit=found.heard.unit)


def _ask_bioreactor(questions: Questions, draft: Draft, whose: str) -> str:
    if len(draft.bioreactors) == 1:
        return draft.bioreactors[0][0]
    return questions.choice(f"Of which bioreactor is {whose}", draft.bioreactors, default="1")


def _ask_model(questions: Questions, draft: Draft, where: Where, profiles: list[Profile]) -> InstrumentAnswer:
    fitting = [profile for profile in profiles if hangs_at(profile, where)]
    rows = [(profile.id, f"{profile.maker}: {profile.words}") for profile in fitting]
    rows.append((OTHER, "another Modbus instrument, by its registers"))
    chosen = questions.choice("Which model", rows)
    profile = next((one for one in fitting if one.id == chosen), None)
    bioreactor = _ask_bioreactor(questions, draft, chosen)
    if profile is None:
        return _ask_registers(questions, draft, where, bioreactor)
    keys = profile.instrument_keys()
    unit: int | str | None = None
    if "unit" in keys:
        said = questions.text("Its unit on the line", default=str(keys["unit"]))
        unit = int(said) if said.isdigit() else said
    return draft.add(profile, _ask_setting(questions, draft, where, profile), bioreactor=bioreactor, unit=unit)


def _ask_where(questions: Questions) -> Where:
    ports = [(port.port, port.about) for port in present_ports()]
    if not ports:
        questions.tell("No serial port is present now; a device file or the host of a TCP instrument may be typed.")
    return Where.of(questions.choice("Port, or host[:port] of a TCP instrument", ports, free=True))


def _ask_setting(questions: Questions, draft: Draft, where: Where, profile: Profile) -> Where:
    """The line's setting, if it is not known yet, and not as in the box."""
    link = fitting_link(profile, where)
    if not where.port or draft.line_at(where) is not None:
        return where
    usual = f"{link.baud} baud {link.data_bits}{link.parity[0].upper()}{link.stop_bits}"
    if questions.yes(f"Set as in its box, {usual}?", default=True):
        return where
    baud = questions.text("Baud rate", default=str(link.baud), check=_whole)
    parity = questions.choice("Parity", [("none", ""), ("even", ""), ("odd", "")], default=link.parity)
    stop_bits = questions.text("Stop bits", default=str(link.stop_bits), check=_whole)
    return Where(port=where.port, baud=int(baud), parity=parity, stop_bits=int(stop_bits))


def _whole(answer: str) -> str:
    return "" if answer.isdigit() else "a whole number, please"


def _ask_registers(questions: Questions, draft: Draft, where: Where, bioreactor: str) -> InstrumentAnswer:
    unit = int(questions.text("Its Modbus unit", default="1", check=_whole))
    setting = where
    if where.port and draft.line_at(where) is None:
        baud = questions.text("Baud rate", default="19200", check=_whole)
        parity = questions.choice("Parity", [("none", ""), ("even", ""), ("odd", "")], default="none")
        setting = Where(port=where.port, baud=int(baud), parity=parity)
    questions.tell(f"Its values, one by one; `lms-agent scan {where} --unit {unit} --value …` finds where one lies.")
    points = []
    while True:
        points.append(_ask_point(questions))
        if not questions.yes("Another value?", default=False):
            break
    name = questions.text("A name for the instrument", default="instrument")
    return draft.add_registers(setting, bioreactor=bioreactor, unit=unit, id_=name, points=points)


def _ask_point(questions: Questions) -> PointAnswer:
    tag = questions.text("Tag, such as Temperature/PV")
    register = questions.choice("Register", [("holding", ""), ("input", "")], default="holding")
    address = questions.text("Address on the wire, counted from 0 (a manual's 40013 is 12)", check=_whole)
    kinds = [(kind, "") for kind in ("float32", "int16", "uint16", "int32", "uint32")]
    kind = questions.choice("Stored as", kinds, default="float32")
    keys = {} if register == "holding" else {"register": quoted(register)}
    keys |= {"address": address, "kind": quoted(kind)}
    if kind not in ("int16", "uint16"):
        order = questions.choice("Which word first", [("high", ""), ("low", "")], default="high")
        keys |= {"word_order": quoted("little")} if order == "low" else {}
    if not kind.startswith("float"):
        scale = questions.text("Scale: value = number × scale", default="1.0", check=_number)
        keys |= {"scale": str(float(scale))} if float(scale) != 1 else {}
    unit = questions.text("Engineering unit, such as °C", needed=False)
    return PointAnswer(tag, keys=keys | ({"unit": quoted(unit)} if unit else {}))


def _number(answer: str) -> str:
    try:
        return "" if float(answer) else "any number but 0, please"
    except ValueError:
        return "a number, please"
