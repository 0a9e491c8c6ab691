"""What `lms-sim serve` does: a plant on its wires until it is told to stop, its state saved as it goes."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from pathlib import Path

from lms_firmware_sim import state_file
from lms_firmware_sim.control import PlantControl
from lms_firmware_sim.errors import StateError
from lms_firmware_sim.plants.description import Plant
from lms_firmware_sim.simulated import SimulatedPlant
from lms_firmware_sim.truth import TruthFeed

ADVANCE_PERIOD_S = 1.0
SAVE_PERIOD_S = 10.0


def state_path(state_dir: Path, plant: str) -> Path:
    """Where a plant's state is kept."""
    return state_dir / f"{plant}.json"


def control_file(state: Path) -> Path:
    """Where a served plant listens for `lms-sim fault`, `place` and `wear`: beside its state."""
    return state.with_suffix(".control")


def restored(
    plant: Plant,
    *,
    started_at: datetime | None,
    wires_dir: Path | None,
    state: Path | None,
    warn: Callable[[str], None],
) -> SimulatedPlant:
    """A plant that goes on from its saved state where there is one that fits, else afresh.

    A state that cannot be used is set aside beside its file, because a demonstration must come up again without
    a hand; without a saved set point the process is the same anyhow.
    """
    saved = None
    if state is not None:
        try:
            saved = state_file.load(state)
            if saved is not None and started_at is None:
                started_at = state_file.started_at(saved, state)
        except StateError as error:
            saved = None
            _set_aside(state, error, warn)
    simulated = SimulatedPlant(plant, started_at=started_at, wires_dir=wires_dir)
    if saved is not None and state is not None:
        try:
            simulated.restore(saved)
        except StateError as error:
            _set_aside(state, error, warn)
    return simulated


def _set_aside(state: Path, error: StateError, warn: Callable[[str], None]) -> None:
    aside = state.with_name(f"{state.name}.unusable")
    with suppress(OSError):
        state.replace(aside)
    warn(f"The saved state cannot be used ({error.reason}); it is set aside as {aside}, the plant begins afresh.")


async def serve(simulated: SimulatedPlant, *, state: Path | None, feed: TruthFeed | None) -> None:
    """Serve until SIGTERM or SIGINT; prints one JSON line to standard output when every wire is laid.

    Raises:
        WireStartError: a wire cannot be laid.
        ControlError: another simulator serves this plant with this state.
        StateError: the state cannot be saved at the beginning or at the end.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(simulated)
        if state is not None:
            await stack.enter_async_context(PlantControl(control_file(state), simulated.wires, simulated.instruments))
            state_file.save(state, simulated.to_json())
        print(json.dumps({"ready": True, "wires": simulated.addresses()}), flush=True)  # noqa: T201 - the interface
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(_follow_clock(simulated, state))]
            if feed is not None:
                background.append(tasks.create_task(feed.run(simulated)))
            await stopped.wait()
            for task in background:
                task.cancel()
        if state is not None:
            state_file.save(state, simulated.to_json())


async def _follow_clock(simulated: SimulatedPlant, state: Path | None) -> None:
    """Bring the plant up to now every second, so that no reader waits for it, and save it every ten.

    A set point and a calibration are saved within a second: an instrument remembers what it was told when its power
    fails.
    """
    loop = asyncio.get_running_loop()
    save_at = loop.time() + SAVE_PERIOD_S
    saved = simulated.told()
    while True:
        await asyncio.sleep(ADVANCE_PERIOD_S)
        simulated.advance()
        if state is not None and (loop.time() >= save_at or simulated.told() != saved):
            save_at = loop.time() + SAVE_PERIOD_S
            saved = simulated.told()
            try:
                await asyncio.to_thread(state_file.save, state, simulated.to_json())
            except StateError as error:
                # A full disk must not take the instruments off their wires; the next save may succeed.
                print(error, file=sys.stderr, flush=True)  # noqa: T201 - the program's log
