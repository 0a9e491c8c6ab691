"""`lms-agent read`: read every instrument once and show the values. Nothing is logged or sent.

A serial port belongs to one program. So a running agent is asked to read, on its own buses; where none runs, the very
buses and drivers of the agent are used here.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from lms_protocol.reading import Datatype, Value

from lms_agent.bench import Shown, UnknownInstrument, Visit, opened
from lms_agent.bench.visit import json_value
from lms_agent.cli.configuration import UNUSABLE, ConfigArgument, ConfigOption, JsonOption, load_or_exit
from lms_agent.cli.finding import ending
from lms_agent.cli.screen.prose import fitted
from lms_agent.cli.screen.tables import table
from lms_agent.cli.screen.terminal import width
from lms_agent.service import Service
from lms_agent.settings import AgentSettings, InstrumentSettings

_COLUMNS = ("BIOREACTOR", "TAG", "VALUE", "UNIT", "QUALITY", "TAKEN AT", "MS")
_NUMBERS = (2, 6)


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
    with ending(as_json=as_json):
        visits = _visit_all(settings, chosen)
    typer.echo(json.dumps(_as_json(visits), ensure_ascii=False) if as_json else _as_table(visits))
    if any(visit.failures for visit in visits):
        raise typer.Exit(1)


def _visit_all(settings: AgentSettings, chosen: Sequence[InstrumentSettings]) -> list[Visit]:
    service = Service.of(settings.agent.log)
    if service is None:
        return asyncio.run(_visit_here(settings, chosen))
    with service:
        return service.read([instrument.id for instrument in chosen])


async def _visit_here(settings: AgentSettings, chosen: Sequence[InstrumentSettings]) -> list[Visit]:
    async with opened(settings, chosen) as bench:
        return await bench.read()


def _chosen(settings: AgentSettings, names: list[str]) -> list[InstrumentSettings]:
    known = {instrument.id: instrument for instrument in settings.instruments}
    unknown = [name for name in names if name not in known]
    if unknown:
        typer.echo(str(UnknownInstrument(unknown[0], known)), err=True)
        raise typer.Exit(UNUSABLE)
    return [known[name] for name in names] if names else list(known.values())


def _as_json(visits: Sequence[Visit]) -> dict[str, Any]:
    return {
        "readings": [
            {
                "instrument": visit.instrument,
                "bioreactor": visit.bioreactor,
                "tag": each.tag,
                "value": json_value(each.value),
                "unit": each.unit,
                "quality": each.quality.name,
                "taken_at_ms": each.taken_at_ms,
                "remark": each.remark,
            }
            for visit in visits
            for each in visit.readings
        ],
        "instruments": [
            {
                "instrument": visit.instrument,
                "milliseconds": round(visit.milliseconds, 1),
                "errors": [missing._asdict() for missing in visit.failures],
            }
            for visit in visits
        ],
    }


def _as_table(visits: Sequence[Visit]) -> str:
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for visit in visits:
        rows += [_row(visit, reading) for reading in visit.readings]
    lines = table(rows, width=width(), numbers=_NUMBERS)
    for visit in visits:
        lines += [f"{visit.instrument}: of {each.tag} it says: {each.remark}" for each in visit.readings if each.remark]
        for tags, reason in visit.failures:
            lines.append(f"{visit.instrument}: {reason} (no value for {', '.join(tags)})")
    return fitted(lines)


def _row(visit: Visit, reading: Shown) -> tuple[str, ...]:
    taken_at = datetime.fromtimestamp(reading.taken_at_ms / 1000).astimezone()
    return (
        visit.bioreactor,
        reading.tag,
        shown(reading.value, reading.datatype, reading.decimals),
        reading.unit,
        reading.quality.name.lower(),
        f"{taken_at:%H:%M:%S}.{reading.taken_at_ms % 1000:03d} {taken_at:%Z}",
        f"{visit.milliseconds:.0f}",
    )


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
