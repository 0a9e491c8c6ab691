"""The log's table of tags: each tag of each device has one number, given once and never to another.

A tag in another unit is another tag (`lms_protocol.units`): it gets a number of its own, and the one before it another
name.

Neighbours: `lms_agent.app` registers the tags of the configuration; `lms_protocol.edge` uses the numbers as aliases.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lms_protocol.reading import Datatype, TagDescription
from lms_protocol.units import former_name, is_other_unit

from lms_agent.log.checksums import tag_checksum
from lms_agent.log.damage.spare import keep_spare
from lms_agent.log.errors import LogMalformed


def write_tags(connection: sqlite3.Connection, descriptions: Sequence[TagDescription]) -> list[TagDescription]:
    """Number new tags, bring the description of known ones up to date; one transaction.

    Returns:
        The same descriptions, in the same order, with their numbers.
    """
    numbered: list[TagDescription] = []
    changed = False
    connection.execute("BEGIN IMMEDIATE")
    try:
        for wanted in descriptions:
            changed = _make_way(connection, wanted) or changed
            number, known = _find(connection, wanted)
            text = to_text(wanted)
            if text != known:
                connection.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", tag_row(number, wanted))
                changed = True
            numbered.append(replace(wanted, number=number))
        if changed:
            keep_spare(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return numbered


def read_tags(path: Path, connection: sqlite3.Connection) -> list[TagDescription]:
    """Return every tag that the log ever knew, by number.

    Raises:
        LogMalformed: a row is not as it was written: nobody can say any more what its number stands for.
    """
    rows = connection.execute("SELECT number, device, name, description, checksum FROM tags ORDER BY number").fetchall()
    for number, device, name, description, checksum in rows:
        if tag_checksum(number, device, name, description) != checksum:
            raise LogMalformed(path, f"the checksum of tag {number} does not fit")
    return [from_row(row[:4]) for row in rows]


def tag_row(number: int, tag: TagDescription) -> tuple[int, str, str, str, int]:
    """Turn a tag into its row."""
    text = to_text(tag)
    return number, tag.device, tag.name, text, tag_checksum(number, tag.device, tag.name, text)


def _make_way(connection: sqlite3.Connection, wanted: TagDescription) -> bool:
    """If its name is that of a tag in another unit, give that one its former name; whether that was so."""
    known = _named(connection, wanted.device, wanted.name)
    back = _named(connection, wanted.device, former_name(wanted.name, wanted.unit))
    returns = back is not None and back.unit == wanted.unit
    if known is None or not (is_other_unit(known.unit, wanted.unit) or (returns and known.unit != wanted.unit)):
        return False
    _rename(connection, known, _free_name(connection, known))
    if back is not None and returns:
        _rename(connection, back, wanted.name)
    return True


def _named(connection: sqlite3.Connection, device: str, name: str) -> TagDescription | None:
    row = connection.execute(
        "SELECT number, device, name, description FROM tags WHERE device = ? AND name = ?", (device, name)
    ).fetchone()
    return None if row is None else from_row(row)


def _free_name(connection: sqlite3.Connection, tag: TagDescription) -> str:
    """Its former name; somebody may have given that very name to another tag."""
    name = former = former_name(tag.name, tag.unit)
    count = 1
    while _named(connection, tag.device, name) is not None:
        count += 1
        name = f"{former} {count}"
    return name


def _rename(connection: sqlite3.Connection, tag: TagDescription, name: str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", tag_row(tag.number, replace(tag, name=name))
    )


def _find(connection: sqlite3.Connection, wanted: TagDescription) -> tuple[int, str | None]:
    """The number that a tag has or is to have, and how it is described so far."""
    key = (wanted.device, wanted.name)
    row = connection.execute("SELECT number, description FROM tags WHERE device = ? AND name = ?", key).fetchone()
    if row is not None:
        return int(row[0]), str(row[1])
    return int(connection.execute("SELECT coalesce(max(number), 0) + 1 FROM tags").fetchone()[0]), None


def to_text(tag: TagDescription) -> str:
    """What `tags.description` holds."""
    return json.dumps(
        {
            "datatype": int(tag.datatype),
            "unit": tag.unit,
            "low": tag.low,
            "high": tag.high,
            "decimals": tag.decimals,
            "access": tag.access,
        },
        ensure_ascii=False,
    )


def from_row(row: tuple[int, str, str, str]) -> TagDescription:
    """Turn (number, device, name, description) back into the tag."""
    number, device, name, text = row
    data = json.loads(text)
    return TagDescription(number, device, name, **(data | {"datatype": Datatype(data["datatype"])}))
