"""The log's table of tags: each tag of each device has one number, given once and never to another.

Neighbours: `lms_agent.app` registers the tags of the configuration; `lms_protocol.edge` uses the numbers as aliases.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from lms_protocol.reading import Datatype, TagDescription


def write_tags(connection: sqlite3.Connection, descriptions: Sequence[TagDescription]) -> list[TagDescription]:
    """Number new tags, bring the description of known ones up to date; one transaction.

    Returns:
        The same descriptions, in the same order, with their numbers.
    """
    numbered: list[TagDescription] = []
    connection.execute("BEGIN IMMEDIATE")
    try:
        for wanted in descriptions:
            text = _to_text(wanted)
            connection.execute(
                "INSERT INTO tags (device, name, description) VALUES (?, ?, ?)"
                " ON CONFLICT (device, name) DO UPDATE SET description = excluded.description"
                " WHERE description <> excluded.description",
                (wanted.device, wanted.name, text),
            )
            key = (wanted.device, wanted.name)
            row = connection.execute("SELECT number FROM tags WHERE device = ? AND name = ?", key).fetchone()
            numbered.append(replace(wanted, number=row[0]))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return numbered


def read_tags(connection: sqlite3.Connection) -> list[TagDescription]:
    """Return every tag that the log ever knew, by number."""
    rows = connection.execute("SELECT number, device, name, description FROM tags ORDER BY number").fetchall()
    return [_from_row(row) for row in rows]


def _to_text(tag: TagDescription) -> str:
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


def _from_row(row: tuple[int, str, str, str]) -> TagDescription:
    number, device, name, text = row
    data = json.loads(text)
    return TagDescription(number, device, name, **(data | {"datatype": Datatype(data["datatype"])}))
