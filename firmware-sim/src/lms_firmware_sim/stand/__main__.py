"""``python -m lms_firmware_sim.stand``: the stand's commands, for the Makefile."""

from lms_firmware_sim.stand.cli import app

if __name__ == "__main__":
    app(prog_name="lms-sim stand")
