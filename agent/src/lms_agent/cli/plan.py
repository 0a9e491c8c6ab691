"""`lms-agent plan`: what is asked on each line, in which requests, how long that takes, and how busy the line will be.

Opens no port. The same plan that the running agent follows.
"""

import json
from collections.abc import Iterator
from typing import Any

import typer

from lms_agent.buses.wire_time import ANSWERING_S, character_s
from lms_agent.cli.check import line_setting, port_of
from lms_agent.cli.configuration import ConfigArgument, ConfigOption, JsonOption, load_or_exit
from lms_agent.cli.line_plan import InstrumentPlan, LinePlan, counted, plan_of_line, span
from lms_agent.cli.screen.prose import fitted
from lms_agent.cli.screen.tables import table
from lms_agent.cli.screen.terminal import width
from lms_agent.settings import AgentSettings, BusSettings, ModbusTcpBus

_HEADING = ("UNIT", "REGISTERS", "COUNT", "ALONG", "MS", "TAGS")
_NUMBERS = (0, 2, 3, 4)


def plan(config: ConfigArgument = None, config_option: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which requests are sent on each line, how long they take, and how busy it will be."""
    _, settings = load_or_exit(config_option or config, as_json=as_json)
    lines = [(bus, plan_of_line(settings, bus)) for bus in settings.buses]
    if as_json:
        described = [_described(settings, bus, line) for bus, line in lines]
        typer.echo(json.dumps({"buses": described}, ensure_ascii=False))
    else:
        typer.echo(fitted(text for bus, line in lines for text in _told(settings, bus, line)))
    if any(line is not None and line.warning for _, line in lines):
        raise typer.Exit(1)


def _described(settings: AgentSettings, bus: BusSettings, line: LinePlan | None) -> dict[str, Any]:
    common = {"id": bus.id, "kind": bus.kind, "port": port_of(bus)}
    if line is None:
        instruments = settings.instruments_on(bus.id)
        return {
            **common,
            "instruments": [
                {"id": each.id, "driver": each.driver, "period_s": each.period_s, "tags": [p.tag for p in each.points]}
                for each in instruments
            ],
        }
    return {
        **common,
        "busy": round(line.busy, 4),
        "warning": line.warning,
        "instruments": [
            {
                "id": each.instrument.id,
                "driver": each.instrument.driver,
                "unit": each.instrument.unit,
                "period_s": each.instrument.period_s,
                "milliseconds": _ms(each.seconds),
                "one_by_one_milliseconds": _ms(each.one_by_one_s),
                "requests": [
                    {
                        "register": request.register,
                        "address": request.address,
                        "count": request.count,
                        "along": request.along,
                        "milliseconds": _ms(request.seconds),
                        "tags": list(request.tags),
                    }
                    for request in each.requests
                ],
            }
            for each in line.instruments
        ],
    }


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


def _told(settings: AgentSettings, bus: BusSettings, line: LinePlan | None) -> Iterator[str]:
    yield f"Bus {bus.id}{line_setting(bus)}{_times(bus)}"
    yield f"  {port_of(bus)}"
    if line is None:
        for instrument in settings.instruments_on(bus.id):
            tags = ", ".join(point.tag for point in instrument.points)
            yield f"  {instrument.id}: asked in {instrument.driver} every {instrument.period_s:g} s for {tags}"
        return
    for each in line.instruments:
        yield from _instrument(each)
    yield f"  The line is in use {line.busy:.1%} of the time."
    if not isinstance(bus, ModbusTcpBus):
        yield f"  Each time counts {1000 * ANSWERING_S:g} ms for the instrument to answer."
    if line.warning:
        yield f"  Warning: {line.warning}"


def _times(bus: BusSettings) -> str:
    if isinstance(bus, ModbusTcpBus):
        return ""
    return f", {1000 * character_s(bus):.2f} ms a character"


def _instrument(each: InstrumentPlan) -> Iterator[str]:
    instrument = each.instrument
    yield (
        f"  {instrument.id}, every {instrument.period_s:g} s: {counted(len(each.requests), 'request')}, "
        f"{_ms(each.seconds):g} ms (one by one: {len(instrument.points)}, {_ms(each.one_by_one_s):g} ms)"
    )
    rows = [_HEADING]
    rows += [
        (
            str(instrument.unit),
            f"{request.register} {span(request.address, request.count)}",
            str(request.count),
            str(request.along) if request.along else "",
            f"{_ms(request.seconds):.1f}",
            ", ".join(request.tags),
        )
        for request in each.requests
    ]
    for row in table(rows, width=width() - 4, numbers=_NUMBERS):
        yield f"    {row}"
