"""A second copy of what nothing of a log can be sent without: its stream, and what the numbers of its tags stand for.

Both are small, and each lies in a page or two: one damaged page would cost every batch that the cloud does not have.
The copy lies in a table, and so in pages, of its own. It is never asked for by SQL; `lms_agent.log.salvage` finds it.

Neighbours: whoever gives a log its stream or its tags (`lms_agent.log.renewing`, `lms_agent.log.tags`, the migrations).
"""

import json
import sqlite3

from lms_agent.log.checksums import meta_checksum

TAGS_KEY = "tags"
"""Key of the row that holds the cells of all rows of `tags`, as JSON."""


def keep_spare(connection: sqlite3.Connection) -> None:
    """Bring the copy up to date, within the transaction that changes what it is of."""
    (stream,) = connection.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()
    tags = connection.execute("SELECT number, device, name, description FROM tags ORDER BY number").fetchall()
    connection.execute("DELETE FROM spare")
    for key, value in (("stream", stream), (TAGS_KEY, json.dumps(tags, ensure_ascii=False))):
        connection.execute("INSERT INTO spare VALUES (?, ?, ?)", (key, value, meta_checksum(key, value)))
