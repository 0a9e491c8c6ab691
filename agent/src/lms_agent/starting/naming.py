"""Ids and tags that are still free."""

import re
from collections.abc import Collection, Sequence


def free_id(wanted: str, taken: Collection[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` …"""
    number, name = 2, wanted
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def free_tags(wanted: Sequence[str], taken: Collection[str]) -> list[str]:
    """An instrument's tags as they are; or all with one number, `pH2/PV` and `pH2/Temp`, if one of them is taken."""
    number, tags = 2, list(wanted)
    while any(tag in taken for tag in tags):
        tags, number = [_numbered(tag, number) for tag in wanted], number + 1
    return tags


def _numbered(tag: str, number: int) -> str:
    quantity, slash, what = tag.partition("/")
    return f"{quantity}{number}{slash}{what}"


def id_of(text: str, otherwise: str) -> str:
    """Text as an id: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or otherwise
