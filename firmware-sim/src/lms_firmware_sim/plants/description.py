"""The model of a plant's TOML file: strict, so that a mistake is told and not guessed around."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, ValidationInfo, field_validator, model_validator

from lms_firmware_sim.errors import PlantError
from lms_firmware_sim.plants.strict import Id, Strict
from lms_firmware_sim.plants.wires import WireDescription
from lms_firmware_sim.process.bioreactor import TAGS, Cultivation
from lms_firmware_sim.process.controller import Cascade, SetPoints, set_point_limits
from lms_firmware_sim.process.strains import STRAINS
from lms_firmware_sim.process.vessels import Recipe, Vessel


class VesselDescription(Strict):
    """`[bioreactor.vessel]`: see `process.vessels.Vessel`."""

    total_l: float = Field(gt=0.05, le=10_000)
    agitation_max_rpm: float = Field(default=1200.0, gt=50, le=2000)
    air_max_l_min: float = Field(gt=0, le=100)
    overpressure_bar: float = Field(default=0.2, ge=0, le=2)

    def vessel(self) -> Vessel:
        """As the process wants it."""
        return Vessel(**self.model_dump())


class RecipeDescription(Strict):
    """`[bioreactor.recipe]`: see `process.vessels.Recipe`."""

    start_l: float = Field(gt=0)
    inoculum_g_l: float = Field(default=0.1, gt=0, le=50)
    batch_g_l: float = Field(default=10.0, ge=0, le=200)
    feed_g_l: float = Field(default=500.0, gt=0, le=800)
    feed_mu_per_h: float = Field(default=0.15, ge=0, le=1)
    feed_max_ml_min: float = Field(default=1.0, ge=0)
    base_mol_l: float = Field(default=5.0, gt=0, le=15)
    base_max_ml_min: float = Field(default=5.0, gt=0)
    buffer_mmol_l: float = Field(default=60.0, gt=0, le=1000)
    sample_ml: float = Field(default=15.0, ge=0)
    sample_every_h: float = Field(default=2.0, gt=0)
    preparation_h: float = Field(default=1.0, ge=0)
    run_h: float = Field(default=30.0, gt=0)

    def recipe(self) -> Recipe:
        """As the process wants it."""
        return Recipe(**self.model_dump())


class SetPointsDescription(Strict):
    """`[bioreactor.set_points]`: what is asked of the loops at the beginning."""

    ph: float = 7.0
    do_percent: float = 30.0
    temperature_c: float = 37.0
    agitation_rpm: float = 300.0
    air_l_min: float

    def set_points(self) -> SetPoints:
        """As the controller wants them."""
        return SetPoints(**self.model_dump())


class ColumnDescription(Strict):
    """`[[bioreactor.replay.column]]`: what a name in the recording is here.

    Attributes:
        name: the column's header, or the tag, as the file has it.
        scale: the value here for a value of 1 in the file.
    """

    name: str = Field(min_length=1)
    tag: str
    scale: float = Field(default=1.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.tag not in TAGS:
            raise ValueError(f"tag {self.tag!r} is not known; allowed are {', '.join(TAGS)}")
        return self


class ReplayDescription(Strict):
    """`[bioreactor.replay]`: a recorded run that takes the place of the model.

    Attributes:
        file: a CSV file; a relative path counts from the plant's file.
        speed: recorded seconds per second.
        repeat: begin again at its end; else the last values stay.
        column: what the file's names are here; without any they must be the simulator's tags.
    """

    file: Path
    speed: float = Field(default=1.0, gt=0, le=10_000)
    repeat: bool = True
    column: tuple[ColumnDescription, ...] = ()

    @field_validator("file")
    @classmethod
    def _beside_the_plant(cls, file: Path, info: ValidationInfo) -> Path:
        folder: Path | None = None if info.context is None else info.context["folder"]
        return file if folder is None else folder / file


class BioreactorDescription(Strict):
    """`[[bioreactor]]`: one vessel and what grows in it.

    Either `inoculated_at` (an instant) or `age_h` (before the plant is first started) says when the first run began.
    """

    id: Id
    name: str = Field(min_length=1, max_length=100)
    strain: str
    seed: int = Field(default=1, ge=0)
    age_h: float | None = Field(default=None, ge=-1000, le=10_000)
    inoculated_at: AwareDatetime | None = None
    time_factor: float = Field(default=1.0, gt=0, le=1000)
    cascade: Cascade = "agitation"
    vessel: VesselDescription
    recipe: RecipeDescription
    set_points: SetPointsDescription
    replay: ReplayDescription | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.strain not in STRAINS:
            raise ValueError(f"strain {self.strain!r} is not known; allowed are {', '.join(STRAINS)}")
        if (self.age_h is None) == (self.inoculated_at is None):
            raise ValueError("give either age_h or inoculated_at")
        if self.recipe.start_l >= self.vessel.total_l:
            raise ValueError(f"start_l {self.recipe.start_l:g} does not fit a vessel of {self.vessel.total_l:g} L")
        limits = set_point_limits(self.vessel.vessel())
        for tag, value in self.set_points.set_points().by_tag().items():
            low, high = limits[tag]
            if not low <= value <= high:
                raise ValueError(f"set point {tag} is {value:g}; allowed are {low:g} to {high:g}")
        return self

    def cultivation(self, started_at: datetime) -> Cultivation:
        """What goes on in it, given when the plant was first started (aware)."""
        started_s = started_at.timestamp()
        if self.inoculated_at is not None:
            inoculated_s = self.inoculated_at.timestamp()
        else:
            inoculated_s = started_s - (self.age_h or 0.0) * 3600.0 / self.time_factor
        return Cultivation(
            strain=STRAINS[self.strain],
            vessel=self.vessel.vessel(),
            recipe=self.recipe.recipe(),
            set_points=self.set_points.set_points(),
            cascade=self.cascade,
            seed=self.seed,
            inoculated_at_s=inoculated_s,
            time_factor=self.time_factor,
        )


class PlantHead(Strict):
    """`[plant]`."""

    name: Id
    description: str = ""


class Plant(Strict):
    """A whole plant."""

    plant: PlantHead
    bioreactor: tuple[BioreactorDescription, ...] = Field(min_length=1)
    wire: tuple[WireDescription, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _unique("bioreactor", [bioreactor.id for bioreactor in self.bioreactor])
        _unique("wire", [wire.id for wire in self.wire])
        known = {bioreactor.id for bioreactor in self.bioreactor}
        for wire in self.wire:
            for bioreactor in wire.bioreactors():
                if bioreactor not in known:
                    raise ValueError(
                        f"wire {wire.id} leads to bioreactor {bioreactor!r}; known are {', '.join(sorted(known))}"
                    )
        return self

    def described(self, bioreactor: str) -> BioreactorDescription:
        """One bioreactor's description. Raises KeyError for an unknown id."""
        return {each.id: each for each in self.bioreactor}[bioreactor]

    def with_replay(self, bioreactor: str, replay: ReplayDescription) -> Self:
        """The same plant, but with a recorded run in one bioreactor. Raises KeyError for an unknown id."""
        self.described(bioreactor)
        bioreactors = tuple(
            each.model_copy(update={"replay": replay}) if each.id == bioreactor else each for each in self.bioreactor
        )
        return self.model_copy(update={"bioreactor": bioreactors})


def _unique(what: Literal["bioreactor", "wire"], ids: list[str]) -> None:
    doubled = sorted({each for each in ids if ids.count(each) > 1})
    if doubled:
        raise ValueError(f"{what} id {', '.join(doubled)} is given more than once")


def load_plant(file: Path) -> Plant:
    """Read a plant's file.

    Raises:
        PlantError: it is missing, no TOML, or does not describe a plant; every problem is listed.
    """
    try:
        with file.open("rb") as opened:
            raw = tomllib.load(opened)
    except OSError as error:
        raise PlantError(file, [error.strerror or str(error)]) from error
    except tomllib.TOMLDecodeError as error:
        raise PlantError(file, [str(error)]) from error
    return plant_from(raw, file)


def plant_from(raw: dict[str, Any], file: Path) -> Plant:
    """A plant from parsed TOML; `file` is only named in errors.

    Raises:
        PlantError: as `load_plant`.
    """
    try:
        return Plant.model_validate(raw, context={"folder": file.parent})
    except ValidationError as error:
        raise PlantError(file, [_sentence(problem, raw) for problem in error.errors()]) from error


def _sentence(problem: Any, raw: dict[str, Any]) -> str:
    """One problem as key, what was found, what is allowed."""
    key = ""
    place: Any = raw
    for part in problem["loc"]:
        if isinstance(part, int):
            place = place[part] if isinstance(place, list | tuple) and part < len(place) else None
            named = place.get("id") if isinstance(place, dict) else None
            key += f"[{named or part}]"
            continue
        if isinstance(place, dict) and part not in place and place.get("kind") == part:
            continue  # the tag of a union is no key of the file
        place = place.get(part) if isinstance(place, dict) else None
        key += f".{part}" if key else str(part)
    message = str(problem["msg"]).removeprefix("Value error, ")
    found = "" if isinstance(problem["input"], dict | list) else f" (found {problem['input']!r})"
    return f"{key or 'the file'}: {message}{found}"


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)
