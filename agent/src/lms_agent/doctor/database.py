"""The agent's database, which is its log, and how far the cloud's has acknowledged it.

Only looks that take no time, whatever the log's length: `lms-agent log verify` checks every byte.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lms_agent.doctor.finding import Finding, bad, good, note, unknown
from lms_agent.log.errors import ADVICE_ON_DAMAGE, LogMalformed, LogUnavailable
from lms_agent.log.lock import writer_pid
from lms_agent.log.reader import LogReader, LogStatus
from lms_agent.timekeeping.telling import agent_now_ms

SUBJECT = "database"
QUIET_MS = 60_000
"""A cloud that takes batches acknowledges them far sooner than this."""


def database(path: Path, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """The log, and what the cloud has of it.

    Args:
        status: what the running agent says of itself; None if none runs.
    """
    if not path.exists():
        if path.parent.is_dir():
            yield note(SUBJECT, f"there is no log {path} yet; the agent makes it when it first starts")
        return
    try:
        with LogReader.open(path) as reader:
            held = reader.status()
            reader.check_small_tables()
    except LogMalformed as error:
        yield bad(SUBJECT, str(error).rstrip("."), ADVICE_ON_DAMAGE)
        return
    except LogUnavailable as error:
        yield unknown(SUBJECT, error.reason, error.remedy)
        return
    yield good(SUBJECT, f"{path} has batches {held.first} to {held.last}, {held.readings} readings")
    if held.dropped_readings:
        found = f"{held.dropped_readings} readings were dropped for want of room before the cloud had them"
        yield bad(SUBJECT, found, "give the log more room (log_max_bytes), and see why the cloud did not take them")
    if status is None:
        yield _left(held)
    else:
        yield from _alarms(status["log"])
        yield _acknowledged(held, status)


def _left(held: LogStatus) -> Finding:
    if held.backlog:
        return note("cloud", f"{held.backlog} batches wait for it", "they are sent when the agent runs")
    return good("cloud", f"has acknowledged all, up to batch {held.acked}")


def _alarms(log: Mapping[str, Any]) -> Iterator[Finding]:
    if log.get("error"):
        yield bad(SUBJECT, str(log["error"]).rstrip("."), "readings wait in memory until then")
    if log.get("full"):
        yield bad(
            SUBJECT,
            "the log is full of what the cloud does not have",
            "make the cloud reachable, or raise log_max_bytes",
        )
    for entry in log.get("set_aside", ()):
        yield note(
            SUBJECT,
            f"{entry['path']} was set aside ({entry['reason']})",
            "the agent sends what it holds; `lms-agent log stats`",
        )


def _acknowledged(held: LogStatus, status: Mapping[str, Any]) -> Finding:
    broker = status["broker"]
    acked = max(held.acked, int(broker["acked"]))
    behind = max(0, held.last - acked)
    if not broker["connected"]:
        return bad("cloud", f"not connected: {broker['error'] or 'connecting'}", "see what is said of the broker")
    if not broker["born"]:
        found = f"connected, but the cloud is offline; {behind} batches wait"
        return bad("cloud", found, "does `lms-cloud ingest` run there, and is `primary_host` its name?")
    now_ms = agent_now_ms(status)
    last_ms = broker["last_ack_at_ms"]
    if behind and now_ms - (last_ms if last_ms is not None else broker["since_ms"]) > QUIET_MS:
        return bad(
            "cloud",
            f"connected, but has acknowledged nothing for a minute; {behind} batches wait",
            "look at the log of `lms-cloud ingest`",
        )
    age = (
        "nothing since the agent started"
        if last_ms is None
        else f"the last {max(0, now_ms - last_ms) / 1000:.0f} s ago"
    )
    return good("cloud", f"acknowledged up to batch {acked}, {age}; {behind} on the way")


def running_agent(path: Path, status: Mapping[str, Any] | None) -> int | None:
    """The process of the agent that writes the log now; None if none does."""
    return None if status is None else int(status.get("pid") or writer_pid(path) or 0) or None
