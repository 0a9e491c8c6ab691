"""A probe's age, changed while it is served: `lms-sim wear`.

Only what stands in the sensor's own list can be changed, within its limits; all of a change or nothing of it.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

from lms_firmware_sim.errors import StateError, WearRefused
from lms_firmware_sim.instruments import oxygen_optode, ph_electrode
from lms_firmware_sim.instruments.oxygen_optode import OxygenOptode
from lms_firmware_sim.instruments.ph_electrode import PhElectrode

Sensor: TypeAlias = PhElectrode | OxygenOptode


def _limits(sensor: Sensor) -> Mapping[str, tuple[float, float]]:
    return ph_electrode.AGES if isinstance(sensor, PhElectrode) else oxygen_optode.AGES


def age(sensor: Sensor) -> dict[str, float]:
    """How old the sensor is, by the names that `wear` takes."""
    return {name: getattr(sensor, name) for name in _limits(sensor)}


def wear(sensor: Sensor, changes: Mapping[str, float]) -> None:
    """Let a sensor grow old, break it, or make it new.

    Raises:
        WearRefused: the sensor has no such property, or it cannot be so; nothing is changed.
    """
    limits = _limits(sensor)
    for name, value in changes.items():
        if name not in limits:
            raise WearRefused(name, None, ", ".join(limits))
        low, high = limits[name]
        if not math.isfinite(value) or not low <= value <= high:
            raise WearRefused(name, value, f"{low:g} to {high:g}")
    for name, value in changes.items():
        setattr(sensor, name, float(value))


def restore_age(sensor: Sensor, saved: Mapping[str, float]) -> None:
    """Go on with what `age` gave.

    Raises:
        StateError: it is not what that gives.
    """
    try:
        wear(sensor, {str(name): float(value) for name, value in saved.items()})
    except (AttributeError, TypeError, ValueError, WearRefused) as error:
        raise StateError(f"a probe's age: {error}") from error
