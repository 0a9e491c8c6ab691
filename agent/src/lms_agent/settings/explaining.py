"""Turn pydantic's errors into what a technician reads: which key, what was found, what is allowed.

Neighbours: `loading.py` calls it; `model.py` raises errors of our own type `lms`, which carry both texts already.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lms_agent.settings import model
from lms_agent.settings.consistency import Finding
from lms_agent.settings.locating import KeyPath
from lms_agent.settings.points import CommandPoint, RegisterPoint

_ALLOWED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "path_type": "a path, in quotes",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} of these tables",
    "tuple_type": "an array of tables, written [[…]]",
    "model_type": "a table",
    "model_attributes_type": "a table",
}

_BUSES: dict[object, type[BaseModel]] = {
    "modbus-rtu": model.ModbusRtuBus,
    "modbus-tcp": model.ModbusTcpBus,
    "serial": model.SerialBus,
}
_INSTRUMENTS: dict[object, tuple[type[BaseModel], type[BaseModel]]] = {
    "modbus": (model.ModbusInstrument, RegisterPoint),
    "mt-sics": (model.MtSicsInstrument, CommandPoint),
}
_SECTIONS: dict[str, type[BaseModel]] = {
    "agent": model.AgentSection,
    "broker": model.BrokerSection,
    "bioreactor": model.BioreactorSettings,
}


def explain(error: ValidationError, document: Mapping[str, Any]) -> list[Finding]:
    """One finding per error, at the key's path in the document."""
    return [
        finding
        for detail in error.errors(include_url=False)
        for finding in _findings(detail, document)
        if not (
            detail["type"] == "too_short" and _at(document, _document_path(detail["loc"]))
        )  # its elements are at fault
    ]


def written_path(path: KeyPath, document: Mapping[str, Any]) -> str:
    """A key path as people name it: `instrument[ph-probe].point[pH/PV].address`; `#2` where there is no name."""
    text = ""
    here: Any = document
    for step in path:
        here = _step(here, step)
        if isinstance(step, int):
            name = (here.get("id") or here.get("tag")) if isinstance(here, Mapping) else None
            text += f"[{name if isinstance(name, str) else f'#{step + 1}'}]"
        else:
            text += f".{step}" if text else str(step)
    return text


def _findings(detail: ErrorDetails, document: Mapping[str, Any]) -> list[Finding]:
    if detail["type"] != "lms":
        return [_finding(detail, document)]
    path = _document_path(detail["loc"])
    places = [(*path, key) if key else path for key, _, _ in detail["ctx"]["findings"]]
    return [
        Finding(place, found or _shown(_at(document, place)), allowed)
        for place, (_, found, allowed) in zip(places, detail["ctx"]["findings"], strict=True)
    ]


def _finding(detail: ErrorDetails, document: Mapping[str, Any]) -> Finding:
    path = _document_path(detail["loc"])
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Finding(path, "an unknown key", _known_keys(path, document))
    if kind == "union_tag_not_found":
        return Finding((*path, "kind"), "nothing", _among(map(repr, _BUSES)))
    if kind == "union_tag_invalid":
        return Finding((*path, "kind"), _shown(context["tag"]), _among(map(repr, _BUSES)))
    if kind == "missing":
        return Finding(path, "nothing", "a value: this key is required")
    allowed = _ALLOWED.get(kind)
    if allowed is None:
        return Finding(path, _shown(detail["input"]), detail["msg"])
    return Finding(path, _shown(_at(document, path)), allowed.format(**context).replace("'", '"'))


def _document_path(location: Sequence[str | int]) -> KeyPath:
    """Drop the names of union members, which pydantic puts behind the index of a bus or an instrument."""
    if len(location) > 2 and location[0] in ("bus", "instrument"):
        location = (*location[:2], *location[3:])
    return tuple(location)


def _known_keys(path: KeyPath, document: Mapping[str, Any]) -> str:
    owner = _model_of(path[:-1], document)
    if owner is None:
        return "no such key"
    keys = [field.alias or name for name, field in owner.model_fields.items()]
    near = get_close_matches(str(path[-1]), keys, n=1)
    return (f'perhaps "{near[0]}"; ' if near else "") + "one of " + ", ".join(sorted(keys))


def _model_of(path: KeyPath, document: Mapping[str, Any]) -> type[BaseModel] | None:
    if not path:
        return model.AgentSettings
    table = _at(document, path[:2])
    if path[0] == "bus":
        return _BUSES.get(table.get("kind")) if isinstance(table, Mapping) else None
    if path[0] == "instrument":
        return _INSTRUMENTS[model.instrument_driver(table)][len(path) > 2]
    return _SECTIONS.get(str(path[0]))


def _among(words: Any) -> str:
    *most, last = (str(word).replace("'", '"') for word in words)
    return f"{', '.join(most)} or {last}"


def _at(document: Mapping[str, Any], path: KeyPath) -> Any:
    here: Any = document
    for step in path:
        here = _step(here, step)
    return here


def _step(here: Any, step: str | int) -> Any:
    try:
        return here[step]
    except (KeyError, IndexError, TypeError):
        return None


def _shown(value: object) -> str:
    """A value as it would stand in the file, cut to a readable length."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "an empty array" if not value else "an array"
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "…"
