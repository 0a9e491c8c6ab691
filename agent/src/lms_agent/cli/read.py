"""`lms-agent read`: read every instrument once and show the values. Nothing is logged or sent.

Uses the very buses and drivers of the running agent. A serial port belongs to one program: stop the agent first, or
read only instruments on other lines with `--instrument`.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from lms_protocol.reading import Datatype, Quality, Reading, Value

from lms_agent.buses.opening import make_bus
from lms_agent.cli.configuration import UNUSABLE, ConfigArgument, ConfigOption, JsonOption, load_or_exit
from lms_agent.clock import Clock, SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.drivers.driver import Outcome
from lms_agent.settings import AgentSettings, BusSettings, InstrumentSettings

_COLUMNS = ("BIOREACTOR", "TAG", "VALUE", "UNIT", "QUALITY", "TAKEN AT", "MS")
_NUMBERS = frozenset((2, 6))


@dataclass(frozen=True, slots=True)
class Visit:
    """One instrument, read once; `milliseconds` is how long it took."""

    instrument: InstrumentSettings
    outcome: Outcome
    milliseconds: float


def read(
    config: ConfigArgument = None,
    config_option: ConfigOption = None,
    as_json: JsonOption = False,
    instrument: Annotated[
        list[str] | None, typer.Option(help="Only this instrument; may be repeated.", show_default=False)
    ] = None,
) -> None:
    """Read every instrument once and show the values."""
    _, settings = load_or_exit(config_option or config, as_json=as_json)
    chosen = _chosen(settings, instrument or [])
    visits = asyncio.run(visit_all(settings, chosen))
    typer.echo(json.dumps(_as_json(visits), ensure_ascii=False) if as_json else _as_table(visits))
    if any(visit.outcome.failures for visit in visits):
        raise typer.Exit(1)


async def visit_all(
    settings: AgentSettings, chosen: Sequence[InstrumentSettings], clock: Clock | None = None
) -> list[Visit]:
    """Read instruments once: those of one line one after another, the lines side by side."""
    lines = [
        _visit_line(bus, mine, clock or SystemClock())
        for bus in settings.buses
        if (mine := [instrument for instrument in chosen if instrument.bus == bus.id])
    ]
    return [visit for visits in await asyncio.gather(*lines) for visit in visits]


async def _visit_line(settings: BusSettings, instruments: Sequence[InstrumentSettings], clock: Clock) -> list[Visit]:
    bus = make_bus(settings, clock, random.Random())  # noqa: S311 - spreads retries; nothing secret
    visits = []
    try:
        for instrument in instruments:
            driver = make_driver(instrument, bus, range(len(instrument.points)))
            start_s = clock.monotonic_s()
            outcome = await driver.read()
            visits.append(Visit(instrument, outcome, 1000 * (clock.monotonic_s() - start_s)))
    finally:
        await bus.close()
    return visits


def _chosen(settings: AgentSettings, names: list[str]) -> list[InstrumentSettings]:
    known = {instrument.id: instrument for instrument in settings.instruments}
    unknown = [name for name in names if name not in known]
    if unknown:
        typer.echo(f"no instrument {unknown[0]!r}; the configuration has {', '.join(known)}", err=True)
        raise typer.Exit(UNUSABLE)
    return [known[name] for name in names] if names else list(known.values())


def _as_json(visits: Sequence[Visit]) -> dict[str, Any]:
    return {
        "readings": [
            {
                "instrument": visit.instrument.id,
                "bioreactor": visit.instrument.bioreactor,
                "tag": visit.instrument.points[reading.tag].tag,
                "value": _json_value(reading.value),
                "unit": visit.instrument.points[reading.tag].unit,
                "quality": Quality(reading.quality).name,
                "taken_at_ms": reading.taken_at_ms,
            }
            for visit in visits
            for reading in visit.outcome.readings
        ],
        "instruments": [
            {
                "instrument": visit.instrument.id,
                "milliseconds": round(visit.milliseconds, 1),
                "errors": [
                    {"tags": [visit.instrument.points[tag].tag for tag in failure.tags], "reason": str(failure.error)}
                    for failure in visit.outcome.failures
                ],
            }
            for visit in visits
        ],
    }


def _json_value(value: Value) -> Value:
    """JSON has no NaN and no infinities: they become text."""
    return str(value) if isinstance(value, float) and value - value != 0.0 else value


def _as_table(visits: Sequence[Visit]) -> str:
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for visit in visits:
        rows += [_row(visit, reading) for reading in visit.outcome.readings]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(_padded(cell, width, column) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    for visit in visits:
        for failure in visit.outcome.failures:
            tags = ", ".join(visit.instrument.points[tag].tag for tag in failure.tags)
            lines.append(f"{visit.instrument.id}: {failure.error} (no value for {tags})")
    return "\n".join(line.rstrip() for line in lines)


def _row(visit: Visit, reading: Reading) -> tuple[str, ...]:
    point = visit.instrument.points[reading.tag]
    taken_at = datetime.fromtimestamp(reading.taken_at_ms / 1000).astimezone()
    return (
        visit.instrument.bioreactor,
        point.tag,
        shown(reading.value, point.datatype, point.decimals),
        point.unit,
        Quality(reading.quality).name.lower(),
        f"{taken_at:%H:%M:%S}.{reading.taken_at_ms % 1000:03d} {taken_at:%Z}",
        f"{visit.milliseconds:.0f}",
    )


def _padded(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column in _NUMBERS else cell.ljust(width)


def shown(value: Value, datatype: Datatype, decimals: int | None) -> str:
    """A value for people: with the decimals that the instrument really has, if they are known."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        if decimals is not None:
            return f"{value:.{decimals}f}"
        return f"{value:.7g}" if datatype is Datatype.FLOAT else f"{value:.15g}"
    return str(value)
