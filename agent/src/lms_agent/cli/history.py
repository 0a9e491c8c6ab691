"""`lms-agent history`: trends in the terminal, from the log alone. Thin: `lms_agent.trend` gathers and draws.

Exit codes: 0 drawn, 1 the log cannot be read, 2 the command cannot be used (no such tag, no such time).
"""

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from lms_protocol.reading import NOT_FOR_SCREENS, Quality, TagDescription, Value

from lms_agent.cli import completing
from lms_agent.cli.finding import CONFIG_HELP, ending, find_log
from lms_agent.cli.screen.prose import folded
from lms_agent.cli.screen.tables import cut
from lms_agent.cli.screen.terminal import coloured, faint, height, picture_width
from lms_agent.cli.who import refuse
from lms_agent.log.exporting import iso
from lms_agent.log.reader import LogReader
from lms_agent.trend.gathering import Bucket, Trend, gather
from lms_agent.trend.plotting import knows_dots, plot, sparkline, steps_for

_UNITS_MS = {"s": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
COMPANIONS = ("/RAW", "/Calibration")
"""Tags that come with a calibrated one, and are seldom looked at by themselves."""
_DAY_MS = 86_400_000
_USUAL_MS, _LEAST_MS = 3_600_000, 60_000
_MOST_MS = 100 * 366 * _DAY_MS
_NAME_CELLS, _NUMBER_CELLS, _UNIT_CELLS = 20, 9, 7
_BESIDE_CELLS = _NAME_CELLS + 3 * _NUMBER_CELLS + _UNIT_CELLS + 1
_LEAST_LINES = 7
_JSON_STEPS = 60


def history(  # noqa: PLR0917 - typer calls it by name
    tags: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TAG]...", help="Such as pH/PV; without one, all in a line each.", autocompletion=completing.tags
        ),
    ] = None,
    last: Annotated[
        str | None, typer.Option("--last", "-l", help="How far back: 90s, 10min, 1h, 2d, 1w; by default 1h at most.")
    ] = None,
    begin: Annotated[str | None, typer.Option("--from", help="From this time on instead: ISO 8601.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Up to this time; by default the newest reading.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Of this bioreactor only.", autocompletion=completing.bioreactors)
    ] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with characters that every terminal has.")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help=CONFIG_HELP, readable=False)] = None,
    log: Annotated[Path | None, typer.Option("--log", help="The log itself, instead of a configuration.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Tags of calibrations, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Draw how tags went, from the log: one as a picture, all of them as a line each."""
    with ending(as_json=as_json), LogReader.open(find_log(config, log)) as reader:
        chosen = _chosen(reader, tags or (), device)
        if not tags and not everything:
            chosen = [tag for tag in chosen if not tag.name.endswith(COMPANIONS)]
        window = _window(reader, last, begin, end)
        dots, cells = knows_dots() and not ascii_only, picture_width()
        steps = _JSON_STEPS if as_json else steps_for(cells, dots=dots) if tags else max(10, cells - _BESIDE_CELLS)
        trends = gather(reader, chosen, window, steps, _progress(reader))
    if as_json:
        typer.echo(json.dumps(_as_json(trends, window), ensure_ascii=False))
    elif tags:
        typer.echo("\n".join(_pictures(trends, cells, dots=dots)))
    else:
        typer.echo("\n".join(_overview(trends, window, dots=dots, spark_cells=steps)))


def _chosen(reader: LogReader, names: Sequence[str], device: str | None) -> list[TagDescription]:
    """The tags that are meant: by name, by `bioreactor/name`, or all that are not the log's own."""
    known = [tag for tag in reader.tags() if not tag.name.startswith(NOT_FOR_SCREENS)]
    if device is not None and device not in {tag.device for tag in known}:
        refuse(
            f"the log has no bioreactor {device!r}; it has {', '.join(sorted({tag.device for tag in known})) or 'none'}"
        )
    mine = [tag for tag in known if device in {None, tag.device}]
    chosen = []
    for name in names:
        found = [tag for tag in mine if name in {tag.name, f"{tag.device}/{tag.name}"}]
        if not found:
            near = get_close_matches(name, [tag.name for tag in mine], n=1, cutoff=0.4)
            perhaps = f"; perhaps {near[0]!r}" if near else ""
            refuse(f"the log has no tag {name!r}{perhaps}; `lms-agent history` without a tag lists them")
        chosen += found
    return chosen if names else mine


def _window(reader: LogReader, last: str | None, begin: str | None, end: str | None) -> tuple[int, int]:
    """From and to, ms UTC; by default an hour, or what there is of it."""
    held = reader.status()
    newest_ms = held.ended_at_ms if held.ended_at_ms is not None else time.time_ns() // 1_000_000
    to_ms = _instant(end) if end is not None else newest_ms + 1
    if begin is not None:
        from_ms = _instant(begin)
    elif last is not None:
        from_ms = to_ms - _length_ms(last)
    else:
        there_ms = to_ms - held.began_at_ms if held.began_at_ms is not None else _USUAL_MS
        from_ms = to_ms - min(max(there_ms, _LEAST_MS), _USUAL_MS)
    if from_ms >= to_ms:
        refuse(f"the window is empty: it begins at {iso(from_ms)} and ends at {iso(to_ms)}")
    return from_ms, to_ms


def _length_ms(text: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*", text)
    length = round(float(match[1]) * _UNITS_MS[match[2]]) if match else 0
    if not 1000 <= length <= _MOST_MS:
        refuse(f"found --last {text!r}; allowed: a number with s, min, h, d or w behind it, such as 90s, 10min, 2d")
    return length


def _instant(text: str) -> int:
    """ISO 8601; without a time zone it is this computer's."""
    try:
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError):
        refuse(f"found time {text!r}; allowed: an instant such as 2026-11-23T06:00 or 2026-11-23T06:00:00Z")


def _progress(reader: LogReader) -> Callable[[int], None]:
    """Say how far it is, on a terminal, where it takes long."""
    if not sys.stderr.isatty() or not sys.stdout.isatty():
        return lambda _: None
    last = reader.head()[0]
    began_s = time.monotonic()
    told = False

    def progress(number: int) -> None:
        nonlocal told
        if (number % 5000 == 0 and time.monotonic() - began_s > 1) or (told and number == last):
            told = number != last
            typer.echo(
                f"\r{'batch ' + str(number) + ' of ' + str(last) + ' …' if told else '':<50}\r", err=True, nl=False
            )

    return progress


def _pictures(trends: Sequence[Trend], cells: int, *, dots: bool) -> list[str]:
    """One below the other, sharing the screen as far as they stay readable."""
    lines = []
    for trend in trends:
        lines += [_headline(trend, cells)]
        room = max(_LEAST_LINES, (height() - 1) // len(trends) - 2)
        lines += plot(trend, width=cells, height=room, dots=dots)
        lines += [faint(line) for line in folded(_facts(trend), cells)]
    return lines


def _headline(trend: Trend, cells: int) -> str:
    tag = trend.tag
    unit = f" in {tag.unit}" if tag.unit else ""
    span = f"{_local(trend.from_ms)} to {_local(trend.to_ms)}"
    return cut(f"{tag.device} {tag.name}{unit}   {span}", cells)


def _local(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _facts(trend: Trend) -> str:
    whole = trend.whole
    if not whole.readings and not trend.gaps:
        return "nothing was read"
    decimals = trend.tag.decimals
    told = []
    if whole.numbers and whole.mean is not None:
        numbers = (("least", whole.minimum), ("mean", whole.mean), ("greatest", whole.maximum))
        told += [f"{name} {shown(number, decimals)}" for name, number in numbers]
    if trend.last is not None:
        told.append(f"last {shown(trend.last[1], decimals)}")
    told.append(f"{whole.readings} readings")
    if trend.missing_ms:
        told.append(f"{_duration(trend.missing_ms)} missing (x)")
    if whole.worst is not Quality.GOOD:
        told.append(f"not all good ({'?' if whole.worst is Quality.UNCERTAIN else '!'})")
    return ", ".join(told)


def _duration(ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= 2 * size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms / 1000:.1f} s"


def _overview(trends: Sequence[Trend], window: tuple[int, int], *, dots: bool, spark_cells: int) -> list[str]:
    form = "%H:%M" if window[1] - window[0] < _DAY_MS else "%d %b"
    began, ended = (datetime.fromtimestamp(ms / 1000).astimezone().strftime(form) for ms in window)
    heading = f"{'TAG':<{_NAME_CELLS}}{f'{began} to {ended}':<{spark_cells + 1}}"
    lines = [heading + "".join(f"{name:>{_NUMBER_CELLS}}" for name in ("LEAST", "GREATEST", "LAST")) + " UNIT"]
    device = None
    for trend in trends:
        if trend.tag.device != device:
            device = trend.tag.device
            lines.append(coloured(device, "white", bold=True))
        lines.append(_line(trend, dots=dots))
    return lines


def _line(trend: Trend, *, dots: bool) -> str:
    whole, decimals = trend.whole, trend.tag.decimals
    numbers: list[Value] = [whole.minimum, whole.maximum] if whole.numbers else [None, None]
    numbers.append(None if trend.last is None else trend.last[1])
    name = cut(f"  {trend.tag.name}", _NAME_CELLS - 1).ljust(_NAME_CELLS)
    cells = "".join(f"{cut(shown(number, decimals), _NUMBER_CELLS - 1):>{_NUMBER_CELLS}}" for number in numbers)
    spark = coloured(sparkline(trend.buckets, dots=dots), "cyan" if whole.worst is Quality.GOOD else "yellow")
    return f"{name}{spark} {cells} {cut(trend.tag.unit, _UNIT_CELLS - 1)}".rstrip()


def shown(value: Value, decimals: int | None) -> str:
    """A value of a trend: with the decimals of its tag, or six digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value
    return f"{value:.{decimals}f}" if decimals is not None else f"{value:.6g}"


def _as_json(trends: Sequence[Trend], window: tuple[int, int]) -> dict[str, Any]:
    return {
        "from": iso(window[0]),
        "to": iso(window[1]),
        "tags": [
            {
                "bioreactor": trend.tag.device,
                "tag": trend.tag.name,
                "unit": trend.tag.unit,
                "last": None if trend.last is None else _last_as_json(*trend.last),
                "readings": trend.whole.readings,
                "missing_s": trend.missing_ms / 1000,
                "buckets": [_bucket_as_json(trend, at, bucket) for at, bucket in enumerate(trend.buckets) if bucket],
            }
            for trend in trends
        ],
    }


def _last_as_json(taken_at_ms: int, value: Value, quality: Quality) -> dict[str, Any]:
    finite = str(value) if isinstance(value, float) and value - value != 0 else value
    return {"taken_at": iso(taken_at_ms), "value": finite, "quality": quality.name}


def _bucket_as_json(trend: Trend, at: int, bucket: Bucket) -> dict[str, Any]:
    step_ms = (trend.to_ms - trend.from_ms) / len(trend.buckets)
    numbers = bucket.numbers > 0
    return {
        "from": iso(round(trend.from_ms + at * step_ms)),
        "readings": bucket.readings,
        "minimum": bucket.minimum if numbers else None,
        "mean": bucket.mean,
        "maximum": bucket.maximum if numbers else None,
        "worst": bucket.worst.name,
    }
