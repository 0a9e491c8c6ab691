"""Which bioreactor a description makes: one from the process model, or one that shows a recorded run."""

from datetime import datetime

from lms_firmware_sim.plants.description import BioreactorDescription
from lms_firmware_sim.process.bioreactor import SimulatedBioreactor
from lms_firmware_sim.replay.recording import Column, load_recording
from lms_firmware_sim.replay.replayed import ReplayedBioreactor


def make_bioreactor(described: BioreactorDescription, started_at: datetime) -> SimulatedBioreactor:
    """A bioreactor, given when its plant was first started (aware): a recording begins then.

    Raises:
        RecordingError: the recording cannot be used.
    """
    cultivation = described.cultivation(started_at)
    replay = described.replay
    if replay is None:
        return SimulatedBioreactor(cultivation)
    columns = {column.name: Column(column.tag, column.scale) for column in replay.column} or None
    return ReplayedBioreactor(
        cultivation,
        load_recording(replay.file, described.id, columns),
        begins_at_s=started_at.timestamp(),
        speed=replay.speed,
        repeats=replay.repeat,
    )
