"""Turn pydantic's errors into what a technician reads: which key, what was found, what is allowed.

Neighbours: `reading.py` adds the lines; `shapes.py` knows which keys there would have been; validators raise
`findings.wrong`, which carries both texts already.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lms_protocol.checked_toml.findings import Finding, KeyPath
from lms_protocol.checked_toml.shapes import document_path, keys_of, model_at, step_into, tags_of, value_at

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
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text of the form {pattern}",
    "too_short": "at least {min_length} of these tables",
    "tuple_type": "an array of tables, written [[…]]",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def explain(error: ValidationError, document: Mapping[str, Any], root: type[BaseModel]) -> list[Finding]:
    """One finding per error, at the key's path in the document, which was checked against `root`."""
    return [
        finding
        for detail in error.errors(include_url=False)
        for finding in _findings(detail, document, root)
        if not (
            detail["type"] == "too_short" and value_at(document, document_path(root, document, detail["loc"]))
        )  # its elements are at fault
    ]


def written_path(path: KeyPath, document: Mapping[str, Any]) -> str:
    """A key path as people name it: `instrument[ph-probe].point[pH/PV].address`; `#2` where there is no name."""
    text = ""
    here: Any = document
    for step in path:
        here = step_into(here, step)
        if isinstance(step, int):
            names = [here.get(key) for key in ("id", "tag", "name", "point")] if isinstance(here, Mapping) else []
            name = next((name for name in names if name and isinstance(name, str)), f"#{step + 1}")
            text += f"[{name}]"
        else:
            text += f".{step}" if text else str(step)
    return text


def _findings(detail: ErrorDetails, document: Mapping[str, Any], root: type[BaseModel]) -> list[Finding]:
    if detail["type"] != "lms":
        return [_finding(detail, document, root)]
    path = document_path(root, document, detail["loc"])
    places = [(*path, *_steps(key)) for key, _, _ in detail["ctx"]["findings"]]
    return [
        Finding(place, found or _shown(value_at(document, place)), allowed)
        for place, (_, found, allowed) in zip(places, detail["ctx"]["findings"], strict=True)
    ]


def _steps(key: str) -> KeyPath:
    """`point.2.status` → `("point", 2, "status")`."""
    return tuple(int(step) if step.isdigit() else step for step in key.split(".")) if key else ()


def _finding(detail: ErrorDetails, document: Mapping[str, Any], root: type[BaseModel]) -> Finding:
    path = document_path(root, document, detail["loc"])
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Finding(path, "an unknown key", _known_keys(path, document, root))
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        key = context["discriminator"].strip("'")
        found = "nothing" if kind == "union_tag_not_found" else _shown(context["tag"])
        return Finding((*path, key), found, among(tags_of(root, document, path)))
    if kind == "missing":
        return Finding(path, "nothing", "a value: this key is required")
    allowed = _ALLOWED.get(kind)
    if allowed is None:
        return Finding(path, _shown(detail["input"]), detail["msg"])
    return Finding(path, _shown(value_at(document, path)), allowed.format(**context).replace("'", '"'))


def _known_keys(path: KeyPath, document: Mapping[str, Any], root: type[BaseModel]) -> str:
    owner = model_at(root, document, path[:-1])
    if owner is None:
        return "no such key"
    keys = keys_of(owner)
    near = get_close_matches(str(path[-1]), keys, n=1)
    return (f'perhaps "{near[0]}"; ' if near else "") + "one of " + ", ".join(sorted(keys))


def among(words: Iterable[str]) -> str:
    """`"a", "b" or "c"`."""
    *most, last = (f'"{word}"' for word in words)
    return f"{', '.join(most)} or {last}" if most else last


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
