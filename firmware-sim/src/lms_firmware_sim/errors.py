"""What can go wrong in the simulator, below the protocol's `LmsError`.

LmsError
└── SimulatorError              anything that the simulator itself reports
    ├── PlantError              a plant's file cannot be used (file, key, what was found, what is allowed)
    ├── RecordingError          a recorded run cannot be used (file, line, what was found, what is allowed)
    ├── StateError              a saved state cannot be used
    ├── WireStartError          a wire cannot be laid (port busy, link in the way, no permission)
    ├── RegisterError           a value does not fit its registers
    ├── SetPointRefused         a set point is outside the controller's limits
    ├── PlaceRefused            a probe cannot be put there
    ├── WearRefused             a probe cannot be so old
    └── UnknownProbe            the plant has no such probe
"""

from pathlib import Path

from lms_protocol.errors import LmsError


class SimulatorError(LmsError):
    """Anything that the simulator itself reports."""


class PlantError(SimulatorError):
    """A plant's file cannot be used.

    Attributes:
        file: the file.
        problems: one sentence for each thing that is wrong, with its key.
    """

    def __init__(self, file: Path, problems: list[str]) -> None:
        self.file = file
        self.problems = problems
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{file} does not describe a plant:{listed}")


class RecordingError(SimulatorError):
    """A recorded run cannot be used.

    Attributes:
        file: the CSV file.
        line: where in it, from 1; None: the whole of it.
        reason: what is wrong.
    """

    def __init__(self, file: Path, line: int | None, reason: str) -> None:
        self.file = file
        self.line = line
        self.reason = reason
        where = str(file) if line is None else f"{file}, line {line}"
        super().__init__(f"{where}: {reason}.")


class StateError(SimulatorError):
    """A saved state cannot be used; removing the file starts the plant afresh.

    Attributes:
        file: the file, None where the state did not come from one.
        reason: what is wrong with it.
    """

    def __init__(self, reason: str, *, file: Path | None = None) -> None:
        self.file = file
        self.reason = reason
        where = "The saved state" if file is None else f"The saved state {file}"
        super().__init__(f"{where} cannot be used: {reason}. Remove it to start the plant afresh.")


class WireStartError(SimulatorError):
    """A wire cannot be laid.

    Attributes:
        wire: the wire's id.
        address: where it should have been.
        reason: what stood in the way.
    """

    def __init__(self, wire: str, address: str, reason: str) -> None:
        self.wire = wire
        self.address = address
        self.reason = reason
        super().__init__(f"Wire {wire} cannot be laid at {address}: {reason}.")


class RegisterError(SimulatorError):
    """A value does not fit the registers that should hold it.

    Attributes:
        kind: the registers' kind, such as `int16`.
        value: the value.
    """

    def __init__(self, kind: str, value: float) -> None:
        self.kind = kind
        self.value = value
        super().__init__(f"{value!r} does not fit {kind} registers.")


class SetPointRefused(SimulatorError):
    """A set point is outside the controller's limits, or no number.

    Attributes:
        tag: such as `pH/SP`.
        value: what was asked for.
        low, high: the limits, in the tag's unit.
    """

    def __init__(self, tag: str, value: float, low: float, high: float) -> None:
        self.tag = tag
        self.value = value
        self.low = low
        self.high = high
        super().__init__(f"{tag} = {value:g} is refused: allowed are {low:g} to {high:g}.")


class PlaceRefused(SimulatorError):
    """A probe cannot be put there.

    Attributes:
        place: what was asked for.
        allowed: the places that there are, in words.
    """

    def __init__(self, place: str, allowed: str) -> None:
        self.place = place
        self.allowed = allowed
        super().__init__(f"{place!r} is no place for this probe: allowed are {allowed}.")


class WearRefused(SimulatorError):
    """A probe cannot be so old.

    Attributes:
        name: what should have been changed.
        value: to what; None: the probe has nothing of this name.
        allowed: what is, in words.
    """

    def __init__(self, name: str, value: float | None, allowed: str) -> None:
        self.name = name
        self.value = value
        self.allowed = allowed
        found = f"{name} = {value:g} cannot be" if value is not None else f"This probe has no {name}"
        super().__init__(f"{found}: allowed are {allowed}.")


class UnknownProbe(SimulatorError):
    """The plant has no such probe.

    Attributes:
        name: what was asked for.
        known: the probes that there are.
    """

    def __init__(self, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        there = f"known are {', '.join(known)}" if known else "the plant has none that can be moved"
        super().__init__(f"Probe {name!r} is not in the plant: {there}.")
