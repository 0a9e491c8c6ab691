"""The command line `lms-sim`: thin, and quick to show its help (what is heavy is imported by the command)."""

# Every command imports what it needs, so that `--help` need not load asyncio, pydantic and MQTT.
# ruff: noqa: PLC0415

import csv
import json
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lms_firmware_sim.errors import SimulatorError

if TYPE_CHECKING:
    from lms_firmware_sim.plants import Plant

app = typer.Typer(
    name="lms-sim",
    help="Simulated bioreactors and instruments on real wires.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Config = Annotated[str, typer.Argument(metavar="CONFIG", help="A plant's TOML file, or the name of a shipped plant.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)


def _plant(config: str) -> "Plant":
    from lms_firmware_sim.plants import load_plant, shipped_plants

    file = Path(config)
    if not file.exists():
        file = shipped_plants().get(config, file)
    return load_plant(file)


def _with_replays(plant: "Plant", replays: list[str], speed: float) -> "Plant":
    """The plant with the recorded runs that the command line asks for."""
    from lms_firmware_sim.plants.description import ReplayDescription

    for each in replays:
        bioreactor, _, file = each.partition("=")
        if not file or bioreactor not in {described.id for described in plant.bioreactor}:
            known = ", ".join(described.id for described in plant.bioreactor)
            _fail(f"--replay {each!r} is not understood: allowed is ID=FILE with one of the bioreactors {known}.")
        plant = plant.with_replay(bioreactor, ReplayDescription(file=Path(file), speed=speed))
    return plant


def _instant(text: str, option: str) -> datetime:
    """An instant from the command line; without a zone it is UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        _fail(f"{option} {text!r} is no time; allowed is such as 2026-11-23T08:00:00Z.")
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


@app.command()
def serve(
    config: _Config,
    *,
    state_dir: Annotated[Path | None, typer.Option(help="Keep the state here and go on from it.")] = None,
    wires_dir: Annotated[Path | None, typer.Option(help="Make links to the pseudo-terminals here.")] = None,
    started_at: Annotated[
        str | None, typer.Option(help="When the plant was first started (default: saved, now).")
    ] = None,
    mqtt_url: Annotated[str | None, typer.Option(help="Publish the true state: mqtt://account@host:port.")] = None,
    mqtt_password_file: Annotated[Path | None, typer.Option(help="Holds the account's password.")] = None,
    replay: Annotated[
        list[str] | None, typer.Option(metavar="ID=FILE", help="Show a run from a CSV file, such as R1=run.csv.")
    ] = None,
    replay_speed: Annotated[float, typer.Option(help="Recorded seconds per second.", min=0.001, max=10_000)] = 1.0,
) -> None:
    """Serve a plant's wires until SIGTERM; prints a JSON line with their addresses when all are laid."""
    import asyncio

    from lms_firmware_sim.serving import restored, state_path
    from lms_firmware_sim.serving import serve as serve_wires
    from lms_firmware_sim.truth import TruthFeed

    try:
        plant = _with_replays(_plant(config), replay or [], replay_speed)
        state = None if state_dir is None else state_path(state_dir, plant.plant.name)
        simulated = restored(
            plant,
            started_at=None if started_at is None else _instant(started_at, "--started-at"),
            wires_dir=wires_dir,
            state=state,
            warn=lambda text: typer.echo(text, err=True),
        )
        feed = None if mqtt_url is None else TruthFeed(mqtt_url, mqtt_password_file)
        asyncio.run(serve_wires(simulated, state=state, feed=feed))
    except SimulatorError as error:
        _fail(str(error))


@app.command()
def history(
    config: _Config,
    *,
    bioreactor: Annotated[str, typer.Option(help="Its id, such as R1.")],
    begin: Annotated[str, typer.Option("--from", help="First time, such as 2026-11-23T08:00:00Z.")],
    end: Annotated[str, typer.Option("--to", help="Time after the last.")],
    period: Annotated[float, typer.Option(help="Seconds between two readings of a tag.", min=0.001)] = 5.0,
    output: Annotated[str, typer.Option(help="A CSV file, or - for standard output.")] = "-",
    started_at: Annotated[
        str | None, typer.Option(help="When the plant was first started (default: saved, --to).")
    ] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Where `serve` keeps its state: tells the start.")] = None,
    units: Annotated[bool, typer.Option("--units", help="Add a column with the unit.")] = False,
) -> None:
    """Write what an agent would have read in the past: taken_at, tag, value."""
    from lms_firmware_sim import state_file
    from lms_firmware_sim.history import history as past
    from lms_firmware_sim.serving import state_path

    try:
        plant = _plant(config)
        first, last = _instant(begin, "--from"), _instant(end, "--to")
        if first >= last:
            _fail(f"--from {begin} is not before --to {end}.")
        if bioreactor not in {each.id for each in plant.bioreactor}:
            known = ", ".join(each.id for each in plant.bioreactor)
            _fail(f"Bioreactor {bioreactor!r} is not in the plant; known are {known}.")
        started = last if started_at is None else _instant(started_at, "--started-at")
        if started_at is None and state_dir is not None:
            file = state_path(state_dir, plant.plant.name)
            saved = state_file.load(file)
            started = last if saved is None else state_file.started_at(saved, file)
        readings = past(plant, bioreactor, started_at=started, begin=first, end=last, period_s=period)
        with ExitStack() as stack:
            opened = sys.stdout
            if output != "-":
                opened = stack.enter_context(Path(output).open("w", encoding="utf-8", newline=""))
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow(("taken_at", "tag", "value", "unit") if units else ("taken_at", "tag", "value"))
            for reading in readings:
                at = datetime.fromtimestamp(reading.taken_at_ms / 1000.0, UTC).isoformat(timespec="milliseconds")
                row = (at.replace("+00:00", "Z"), reading.tag, repr(reading.value))
                writer.writerow((*row, reading.unit) if units else row)
    except SimulatorError as error:
        _fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(0) from None
    except OSError as error:
        _fail(f"{output} cannot be written: {error.strerror}.")


@app.command()
def plants(*, as_json: _Json = False) -> None:
    """List the plants that come with the simulator."""
    from lms_firmware_sim.plants import load_plant, shipped_plants

    found = {name: load_plant(file).plant.description for name, file in shipped_plants().items()}
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for name, description in found.items():
        typer.echo(f"{name:12s} {description}")


@app.command()
def show(config: _Config, *, as_json: _Json = False) -> None:
    """Show a plant's wires and what lies in which register."""
    from lms_firmware_sim.showing import as_data, as_text

    try:
        plant = _plant(config)
    except SimulatorError as error:
        _fail(str(error))
    typer.echo(json.dumps(as_data(plant), indent=2, ensure_ascii=False) if as_json else as_text(plant))


@app.command()
def fault(
    wire: Annotated[str | None, typer.Argument(help="A wire's id; without it, the present faults are listed.")] = None,
    kind: Annotated[
        str | None, typer.Argument(help="silence, late, bad-crc, … or none; see docs/simulator.md.")
    ] = None,
    *,
    state_dir: Annotated[Path, typer.Option(help="The folder that `serve` was given.")],
    plant: Annotated[str, typer.Option(help="The plant's name.")] = "demo",
    unit: Annotated[
        str | None, typer.Option(help="Only this Modbus unit or pump number, or this Alicat letter.")
    ] = None,
    delay: Annotated[float | None, typer.Option(help="Seconds, for late and slow-bytes.")] = None,
    size: Annotated[int | None, typer.Option(help="Bytes of truncated and garbage; registers of wrong-count.")] = None,
    share: Annotated[float, typer.Option(help="Share of the replies.", min=0.0, max=1.0)] = 1.0,
    times: Annotated[int | None, typer.Option(help="So many replies, then well again.", min=1)] = None,
    as_json: _Json = False,
) -> None:
    """Make a wire of a served plant ill, or well again."""
    from lms_firmware_sim.control import request
    from lms_firmware_sim.serving import control_file, state_path

    asked: dict[str, object] = {}
    if wire is not None:
        if kind is None:
            _fail("Which fault? Such as: lms-sim fault str-2 silence. To make it well: lms-sim fault str-2 none.")
        wanted = {"kind": kind, "unit": _address(unit), "delay_s": delay, "size": size, "share": share, "times": times}
        asked = {"wire": wire, "fault": None if kind == "none" else wanted}
    try:
        faults = request(control_file(state_path(state_dir, plant)), asked)["faults"]
    except SimulatorError as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps(faults, indent=2))
        return
    for name, present in faults.items():
        typer.echo(f"{name:16s} {'well' if present is None else _described(present)}")


def _address(unit: str | None) -> int | str | None:
    """A unit as its wire knows it: a number, or a capital letter."""
    if unit is None:
        return None
    return int(unit) if unit.isdecimal() else unit.upper()


@app.command()
def place(
    probe: Annotated[str | None, typer.Argument(help="A probe's name; without it, all are listed.")] = None,
    where: Annotated[
        str | None, typer.Argument(metavar="PLACE", help="vessel, a buffer's pH such as 4.01, air, zero.")
    ] = None,
    *,
    state_dir: Annotated[Path, typer.Option(help="The folder that `serve` was given.")],
    plant: Annotated[str, typer.Option(help="The plant's name.")] = "bench",
    as_json: _Json = False,
) -> None:
    """Put a probe of a served plant into a buffer, into air, or back into its vessel."""
    from lms_firmware_sim.control import request
    from lms_firmware_sim.serving import control_file, state_path

    if probe is not None and where is None:
        _fail(f"Where to? Such as: lms-sim place {probe} 4.01. Back again: lms-sim place {probe} vessel.")
    asked = {} if probe is None else {"probe": probe, "place": where}
    try:
        places = request(control_file(state_path(state_dir, plant)), asked)["places"]
    except SimulatorError as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps(places, indent=2))
        return
    for name, present in places.items():
        typer.echo(f"{name:16s} {present}")


@app.command()
def wear(
    probe: Annotated[str | None, typer.Argument(help="A probe's name; without it, all are listed.")] = None,
    *,
    slope: Annotated[float | None, typer.Option(help="Of a pH electrode, in percent of Nernst's; new: 100.")] = None,
    offset: Annotated[float | None, typer.Option(help="Of a pH electrode, in mV at pH 7; new: 0.")] = None,
    gain: Annotated[float | None, typer.Option(help="Of an oxygen probe; new: 1.")] = None,
    zero: Annotated[float | None, typer.Option(help="Of an oxygen probe, in percent without oxygen; new: 0.")] = None,
    broken: Annotated[bool | None, typer.Option("--broken/--mended", help="Glass cracked, or cap gone.")] = None,
    state_dir: Annotated[Path, typer.Option(help="The folder that `serve` was given.")],
    plant: Annotated[str, typer.Option(help="The plant's name.")] = "bench",
    as_json: _Json = False,
) -> None:
    """Let a probe of a served plant grow old, break it, or make it new."""
    from lms_firmware_sim.control import request
    from lms_firmware_sim.serving import control_file, state_path

    given = {"slope_percent": slope, "offset_mv": offset, "gain": gain, "zero_percent": zero, "broken": broken}
    changes = {name: float(value) for name, value in given.items() if value is not None}
    asked = {} if probe is None else {"probe": probe, "wear": changes}
    try:
        ages = request(control_file(state_path(state_dir, plant)), asked)["ages"]
    except SimulatorError as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps(ages, indent=2))
        return
    for name, present in ages.items():
        typer.echo(f"{name:16s} {', '.join(f'{what} {value:g}' for what, value in present.items())}")


def _described(present: dict[str, object]) -> str:
    """A fault in a line: its kind, and what is not as usual."""
    rest = ", ".join(f"{key} {value}" for key, value in present.items() if key != "kind" and value not in (None, 0, 1))
    return f"{present['kind']}{f' ({rest})' if rest else ''}"


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def stand(context: typer.Context) -> None:
    """Run the whole system on this machine: database, broker, cloud, agents, simulator."""
    from lms_firmware_sim.stand.cli import app as stand_app

    stand_app(args=context.args, prog_name="lms-sim stand")
