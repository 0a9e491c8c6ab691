"""What a field may hold, in plain words, however pydantic refuses one. Used by `lms_cloud.web.errors`."""

from collections.abc import Mapping
from typing import Any

_PLAIN = {
    "missing": "a value; it is required",
    "extra_forbidden": "nothing; there is no such field",
    "string_type": "a text",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of less than 4300 digits",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "uuid_parsing": "an id such as 0191f3c2-7a54-7c11-9d3b-2f6f0a6f4a51",
    "uuid_type": "an id such as 0191f3c2-7a54-7c11-9d3b-2f6f0a6f4a51",
    "datetime_parsing": "a time such as 2026-11-23T12:00:00Z",
    "datetime_from_date_parsing": "a time such as 2026-11-23T12:00:00Z",
    "datetime_type": "a time such as 2026-11-23T12:00:00Z",
    "timezone_aware": "a time with its zone, such as 2026-11-23T12:00:00Z",
    "list_type": "a list",
    "dict_type": "an object",
    "model_attributes_type": "an object",
}
_WITH_LIMIT = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "enum": "{expected}",
    "literal_error": "{expected}",
}


def allowed(error: Mapping[str, Any]) -> str:
    """What the field may hold.

    Args:
        error: one of pydantic's error descriptions (`type`, `msg`, `ctx`).
    """
    kind = error["type"]
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _WITH_LIMIT:
        return _WITH_LIMIT[kind].format_map(error["ctx"])
    return str(error["msg"]).removeprefix("Value error, ")
