"""Ids and tags that are still free."""

import re
from collections.abc import Collection


def free_id(wanted: str, taken: Collection[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` …"""
    number, name = 2, wanted
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def free_tag(wanted: str, taken: Collection[str]) -> str:
    """`pH/PV`, or `pH2/PV`, `pH3/PV` …: the quantity is numbered, what of it stays."""
    quantity, slash, what = wanted.partition("/")
    number, name = 2, wanted
    while name in taken:
        name, number = f"{quantity}{number}{slash}{what}", number + 1
    return name


def id_of(text: str, otherwise: str) -> str:
    """Text as an id: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or otherwise
