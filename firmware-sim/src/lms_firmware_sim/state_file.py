"""The saved state of a plant: one JSON file, replaced whole, so that a kill leaves the old one or the new one."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from lms_firmware_sim.errors import StateError


def load(file: Path) -> dict[str, Any] | None:
    """What was saved; None if nothing was.

    Raises:
        StateError: the file is there but no saved state.
    """
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateError(str(error), file=file) from error
    if not isinstance(saved, dict):
        raise StateError("it is no JSON object", file=file)
    return saved


def save(file: Path, state: dict[str, Any]) -> None:
    """Save a state.

    Raises:
        StateError: the file cannot be written.
    """
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8") as opened:
            json.dump(state, opened)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(file)
    except OSError as error:
        raise StateError(error.strerror or str(error), file=file) from error


def started_at(saved: dict[str, Any], file: Path) -> datetime:
    """When the saved plant was first started.

    Raises:
        StateError: the state does not tell.
    """
    try:
        instant = datetime.fromisoformat(saved["started_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise StateError("it does not tell when the plant was started", file=file) from error
    if instant.tzinfo is None:
        raise StateError("its time of start has no zone", file=file)
    return instant
