"""Plants: which bioreactors stand there, which wires lead to them, and what lies in which register.

description   the model of a plant's file, and how one is read
points        the file's tables and blocks spelled out as one list of points
*.toml        the plants that come with the simulator
"""

from pathlib import Path

from lms_firmware_sim.plants.description import Plant, load_plant

FOLDER = Path(__file__).parent


def shipped_plants() -> dict[str, Path]:
    """The plants that come with the simulator: name → file."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.toml"))}


__all__ = ["Plant", "load_plant", "shipped_plants"]
