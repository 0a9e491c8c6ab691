"""`python -m lms_firmware_sim` is `lms-sim`."""

from lms_firmware_sim.cli import app

app()
