"""`lms-agent profile`: which instrument models are known, what is known of one, and whether an own profile is sound.

Thin: `lms_protocol.instruments` reads, checks and describes.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from lms_protocol.checked_toml.problems import SettingsProblem
from lms_protocol.errors import LmsError
from lms_protocol.instruments.catalogue import Catalogue, ProfileError, read_profile
from lms_protocol.instruments.describing import measuring_range, overview, page, place, setting
from lms_protocol.instruments.facts import RegisterIdentity
from lms_protocol.instruments.model import AnyPoint, Profile
from lms_protocol.instruments.points import ModbusProfilePoint

from lms_agent.cli import completing
from lms_agent.cli.finding import CONFIG_HELP, UNUSABLE, ending
from lms_agent.cli.screen.prose import beside, say
from lms_agent.cli.screen.tables import table
from lms_agent.cli.screen.terminal import width
from lms_agent.settings.loading import default_path

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Show which instrument models are known, and check profiles of your own.",
)

_INDENT = 12

Config = Annotated[Path | None, typer.Option("--config", "-c", help=CONFIG_HELP, readable=False)]
Folder = Annotated[
    Path | None, typer.Option("--profiles", help="A folder with own profiles, instead of the configuration's.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(folder: Folder = None, config: Config = None, as_json: Json = False) -> None:
    """Every instrument model that is known, by the id that a configuration names."""
    with ending(as_json=as_json):
        catalogue = _catalogue(folder, config)
        profiles = list(catalogue)
    if as_json:
        entries = [
            {
                "id": profile.id,
                "maker": profile.maker,
                "models": list(profile.models),
                "measures": profile.words,
                "driver": profile.driver,
                "evidence": profile.evidence,
                "own": catalogue.entries[profile.id].own,
            }
            for profile in profiles
        ]
        typer.echo(json.dumps({"profiles": entries}, ensure_ascii=False))
        return
    rows = [("PROFILE", "MAKER", "LINE", "WHAT")]
    for profile in profiles:
        own = " (own)" if catalogue.entries[profile.id].own else ""
        rows.append((profile.id + own, profile.maker, setting(profile.links[0]), profile.words))
    typer.echo("\n".join(table(rows, width=width())))


@app.command()
def show(
    profile: Annotated[str, typer.Argument(help="The id of a profile, or a file.", autocompletion=completing.profiles)],
    folder: Folder = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """What is known of a model: its line, its points and tags, and how far that can be trusted."""
    with ending(as_json=as_json):
        found = _found(profile, folder, config)
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False))
        return
    typer.echo("\n".join(_told(found)))


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Profiles, or folders with profiles.")], as_json: Json = False
) -> None:
    """Check profiles of your own: each problem with file, line, key, what was found and what is allowed."""
    checked: list[dict[str, Any]] = []
    for path in _files(files):
        problems: list[dict[str, Any]] = []
        try:
            profile = read_profile(path)
            words = f"{path}: good: {profile.maker}, {profile.words}, {len(profile.points)} points"
        except ProfileError as error:
            problems = [problem._asdict() for problem in error.problems]
            words = str(error)
        checked.append({"file": str(path), "problems": problems})
        for line in () if as_json else words.splitlines():
            say(line.strip(), indent=len(line) - len(line.lstrip()), err=bool(problems))
    if as_json:
        typer.echo(json.dumps({"files": checked}, ensure_ascii=False))
    elif not checked:
        say("No profile there: profiles are files that end with .toml.", err=True)
    if not checked or any(each["problems"] for each in checked):
        raise typer.Exit(UNUSABLE)


@app.command()
def copy(
    profile: Annotated[str, typer.Argument(help="The id of a profile.", autocompletion=completing.profiles)],
    into: Annotated[Path, typer.Argument(help="The file to write, such as profiles/our-ph.toml.")],
    folder: Folder = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Begin a profile of your own with another one; its id becomes the name of the file."""
    with ending(as_json=as_json):
        entry = _catalogue(folder, config).entry(profile)
        if into.suffix != ".toml":
            raise ProfileError(into, [SettingsProblem(None, "", "no profile's name", "a file that ends with .toml")])
        text = entry.path.read_text(encoding="utf-8")
        if into.exists():
            raise LmsError(f"{into} is there already, and nothing is overwritten: choose another name")
        into.write_text(text.replace(f'id = "{profile}"', f'id = "{into.stem}"', 1), encoding="utf-8")
        try:
            read_profile(into)
        except ProfileError:
            into.unlink()
            raise
    if as_json:
        typer.echo(json.dumps({"file": str(into)}))
    else:
        say(f"{into} is a copy of {profile}. Change it, and check it: `lms-agent profile check {into}`")


@app.command()
def pages(
    into: Annotated[Path, typer.Argument(help="The folder to write to; it is made if it is not there.")],
    folder: Folder = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write a page in Markdown for every profile, and index.md with a table of them."""
    with ending(as_json=as_json):
        profiles = list(_catalogue(folder, config))
        into.mkdir(parents=True, exist_ok=True)
        for profile in profiles:
            (into / f"{profile.id}.md").write_text(page(profile), encoding="utf-8")
        (into / "index.md").write_text(f"# Instruments\n\n{overview(profiles)}", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({"pages": [f"{profile.id}.md" for profile in profiles]}))
    else:
        say(f"{len(profiles)} pages and index.md are in {into}.")


def _catalogue(folder: Path | None, config: Path | None) -> Catalogue:
    return Catalogue(folder if folder is not None else _configured(config or default_path()))


def _configured(path: Path) -> Path | None:
    """The folder of own profiles that a configuration names; it may be wrong in all the rest."""
    try:
        named = tomllib.loads(path.read_text(encoding="utf-8"))["agent"]["profiles"]
        return path.absolute().parent / Path(str(named)).expanduser()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def _found(name: str, folder: Path | None, config: Path | None) -> Profile:
    return read_profile(Path(name)) if name.endswith(".toml") else _catalogue(folder, config).get(name)


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob("*.toml"))
        else:
            yield path


def _told(profile: Profile) -> Iterator[str]:
    room = width()
    yield f"{profile.id}  ({profile.evidence})"
    yield from _row("what", f"{profile.maker}: {profile.words}", room)
    yield from _row("models", ", ".join(profile.models), room)
    for link in profile.links:
        choices = f"; rates {', '.join(map(str, sorted(link.bauds)))}" if len(link.bauds) > 1 else ""
        yield from _row("line", f"{link.kind}, {setting(link)}{choices}", room)
    timing = profile.timing
    yield from _row("answers", f"within {timing.reply_s:g} s; asked every {timing.period_s:g} s", room)
    yield from _row("recognised", _recognised(profile), room)
    if profile.points:
        yield ""
        rows = [("POINT", "TAG", "UNIT", "MEASURES", "", "WHERE")]
        for point in profile.points:
            can = "set" if point.access == "write" else ""
            name = point.name if point.default else f"({point.name})"
            rows.append((name, point.tag, point.unit, measuring_range(point), can, _where(point)))
        yield from table(rows, width=room)
        if any(not point.default for point in profile.points):
            yield "(in brackets: read only if the configuration names it)"
    calibrated = [point.name for point in profile.points if point.calibration is not None]
    if calibrated:
        yield ""
        yield from _row("calibrate", "; ".join(_calibrated(profile, name) for name in calibrated), room)
    if profile.notes:
        yield ""
    for note in profile.notes:
        yield from _row("note", note, room)
    yield ""
    for source in profile.sources:
        yield from _row(source.id, f"{source.title} ({source.evidence})", room)


def _row(heading: str, text: str, room: int) -> list[str]:
    return beside(f"  {heading}", text, indent=_INDENT + 2, width=room)


def _recognised(profile: Profile) -> str:
    identity = profile.identity
    if identity is None:
        return "by its values alone"
    if isinstance(identity, RegisterIdentity):
        return f"{' or '.join(identity.texts)} in register {identity.address}"
    return f"its answer to {identity.question(profile.instrument_keys().get('unit', ''))}"


def _where(point: AnyPoint) -> str:
    if isinstance(point, ModbusProfilePoint):
        return f"{point.register_} {point.address} {point.kind}"
    return place(point).replace("`", "").replace('"', "")


def _calibrated(profile: Profile, name: str) -> str:
    point = next(point for point in profile.points if point.name == name)
    if point.calibration is None:
        return name
    values = ", ".join(f"{reference.value:g}" for reference in point.calibration.references)
    return f"{name} at {values} {point.unit}, kept by the {point.calibration.kind}"
