"""`lms-agent sync`: how sending goes. Thin: the agent says it, and the log what is still to send.

Exit codes: 0 all is well, 1 nothing can be sent now, or there is something that somebody should see to.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lms_agent.cli.configuration import JsonOption
from lms_agent.cli.finding import CONFIG_HELP, ending, find_log
from lms_agent.cli.screen.prose import beside
from lms_agent.cli.screen.terminal import coloured, width
from lms_agent.health import is_fresh, read_status
from lms_agent.log.exporting import iso
from lms_agent.log.lock import is_written
from lms_agent.log.reader import LogReader, LogStatus
from lms_agent.service import Service
from lms_agent.service.errors import ServiceError
from lms_agent.timekeeping.telling import agent_now_ms, needs_attention, sentence

_INDENT = 18


def sync(
    config: Annotated[Path | None, typer.Argument(help=CONFIG_HELP, show_default=False, readable=False)] = None,
    config_option: Annotated[
        Path | None, typer.Option("--config", "-c", help="The same, as an option.", show_default=False, readable=False)
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", help="The log itself, instead of a configuration.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how sending goes: connection, backlog, clock, last acknowledgement."""
    with ending(as_json=as_json):
        path = find_log(config_option or config, log)
        status = _status(path)
        with LogReader.open(path) as reader:
            held = reader.status()
            waiting_since_ms = _waiting_since_ms(reader, held, status)
    told = _as_json(status, held, waiting_since_ms)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        for heading, text, bad in _lines(status, told):
            lines = beside(heading, text, indent=_INDENT, width=width())
            typer.echo("\n".join(coloured(line, "red") if bad else line for line in lines))
    if not told["well"]:
        raise typer.Exit(1)


def _status(log_path: Path) -> dict[str, Any] | None:
    """What a running agent says of itself, this moment if it can be asked; None if none runs."""
    try:
        service = Service.of(log_path)
        if service is not None:
            with service:
                return service.status()
    except ServiceError:
        pass  # the file beside the log says the same, a second old
    status = read_status(log_path) if is_written(log_path) else None
    return status if status is not None and is_fresh(status) else None


def _waiting_since_ms(reader: LogReader, held: LogStatus, status: Mapping[str, Any] | None) -> int | None:
    """When the oldest reading that waits was taken, ms UTC; None if none waits."""
    first = max(_acked(held, status) + 1, held.first)
    for batch in reader.read(first, 1) if first <= held.last else ():
        return min((reading.taken_at_ms for reading in batch.readings), default=None)
    return None


def _acked(held: LogStatus, status: Mapping[str, Any] | None) -> int:
    return max(held.acked, int(status["broker"]["acked"]) if status else 0)


def _as_json(status: Mapping[str, Any] | None, held: LogStatus, waiting_since_ms: int | None) -> dict[str, Any]:
    acked = _acked(held, status)
    broker, clock = (status["broker"], status["clock"]) if status else (None, None)
    aside = [
        {"path": one["path"], "reason": one["reason"], "backlog": max(0, one["head"] - one["acked"])}
        for one in (status["log"].get("set_aside", ()) if status else ())
    ]
    well = bool(broker and broker["born"] and broker["refused"] is None and not aside)
    return {
        "well": well and clock is not None and clock["held_from"] is None,
        "running": status is not None,
        "url": status["url"] if status else None,
        "connected": bool(broker and broker["connected"]),
        "since_ms": broker["since_ms"] if broker else None,
        "host_online": bool(broker and broker["host_online"]),
        "sending": bool(broker and broker["born"]),
        "error": broker["error"] if broker else "",
        "stream": str(held.stream),
        "batches": held.last,
        "acked": acked,
        "backlog": max(0, held.last - max(acked, held.first - 1)) if held.last else 0,
        "waiting_since_ms": waiting_since_ms,
        "last_ack_at_ms": broker["last_ack_at_ms"] if broker else None,
        "refused": broker["refused"] if broker else None,
        "set_aside": aside,
        "clock": clock,
    }


def _lines(status: Mapping[str, Any] | None, told: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Heading, text, and whether somebody should see to it."""
    now_ms = agent_now_ms(status)

    def ago(ms: int | None) -> str:
        return "not since the agent's start" if ms is None else f"{iso(ms)}, {_duration(now_ms - ms)} ago"

    lines = [_connection(told, ago)]
    backlog = told["backlog"]
    waits = f"{backlog} of {told['batches']} batches wait"
    since = told["waiting_since_ms"]
    lines.append(("backlog", f"{waits}; the oldest was read at {ago(since)}" if backlog and since else waits, False))
    if told["running"]:
        lines.append(("acknowledged", f"up to batch {told['acked']}; last heard: {ago(told['last_ack_at_ms'])}", False))
        lines.append(("clock", sentence(told["clock"]).removeprefix("clock: "), needs_attention(told["clock"])))
    else:
        lines.append(("acknowledged", f"up to batch {told['acked']}", False))
    if told["refused"] is not None:
        lines.append(("refused", f"batch {told['refused']}: the cloud has another one under that number", True))
    lines += [
        ("set aside", f"{one['path']}: {one['backlog']} batches to send ({one['reason']})", True)
        for one in told["set_aside"]
    ]
    return lines


def _connection(told: Mapping[str, Any], ago: Any) -> tuple[str, str, bool]:
    if not told["running"]:
        return "connection", "no agent runs; `systemctl start lms-agent`", True
    if not told["connected"]:
        why = told["error"] or "being made"
        return "connection", f"none to {told['url']}, since {ago(told['since_ms'])}: {why}", True
    if not told["host_online"]:
        return "connection", f"to {told['url']}, but the cloud is not online; readings wait", True
    state = "sending" if told["sending"] else "about to send"
    return "connection", f"{state} to {told['url']}; connected at {ago(told['since_ms'])}", False


def _duration(ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= 2 * size:
            return f"{ms / size:.1f} {unit}"
    return f"{max(0, ms) / 1000:.1f} s"
