"""Instruments for `lms-agent init`: from an option, or asked for one by one."""

from lms_protocol.errors import LmsError
from lms_protocol.instruments.catalogue import Catalogue
from lms_protocol.instruments.model import Profile

from lms_agent.cli.init_questions import Questions
from lms_agent.ports.present import present_ports
from lms_agent.starting.answers import InstrumentAnswer, PointAnswer
from lms_agent.starting.drafting import Draft, DraftError, Where, fitting_link
from lms_agent.starting.writing import text as quoted

_KEYS = ("profile", "port", "host", "unit", "bioreactor", "id", "baud", "parity", "stop_bits")
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
    """One after another, until there are enough."""
    profiles = [profile for profile in catalogue if profile.points]
    while True:
        try:
            answer = _ask_one(questions, draft, profiles)
            questions.tell(f"{answer.id} is on {answer.bus}.")
        except LmsError as error:
            questions.complain(str(error))
            if draft.instruments and not questions.yes("Try again?", default=True):
                return
            continue
        if not questions.yes("Another instrument?", default=False):
            return


def _ask_one(questions: Questions, draft: Draft, profiles: list[Profile]) -> InstrumentAnswer:
    rows = [(profile.id, f"{profile.maker}: {profile.words}") for profile in profiles]
    rows.append((OTHER, "another Modbus instrument, by its registers"))
    chosen = questions.choice("Which model", rows)
    profile = next((one for one in profiles if one.id == chosen), None)
    where = _ask_where(questions)
    if profile is not None:
        fitting_link(profile, where)
    bioreactor = draft.bioreactors[0][0]
    if len(draft.bioreactors) > 1:
        bioreactor = questions.choice("Of which bioreactor", draft.bioreactors, default="1")
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
