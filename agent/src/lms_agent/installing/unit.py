"""The unit's text: the one that comes with the program, with this computer's paths in it.

`lms-agent.service` beside this file is whole and hardened as it stands; only what differs from a machine set up by the
Debian package is replaced.
"""

from importlib.resources import files
from pathlib import Path

STATE = Path("/var/lib/lms-agent")
"""What systemd lets the service write (`StateDirectory`)."""
_EXEC = "ExecStart=/opt/lms-evo/bin/lms-agent run --config /etc/lms-evo/agent.toml"


def unit_text(program: Path, config: Path, log_folder: Path) -> str:
    """The unit for this computer.

    Args:
        program: the `lms-agent` that is to run.
        config: its configuration.
        log_folder: where the log lies; if it is not below `STATE`, the service is allowed to write there.
    """
    text = files("lms_agent.installing").joinpath("lms-agent.service").read_text(encoding="utf-8")
    command = f"ExecStart={_quoted(program)} run --config {_quoted(config)}"
    lines = [command if line == _EXEC else line for line in text.splitlines()]
    if not log_folder.is_relative_to(STATE):
        lines.insert(lines.index("StateDirectory=lms-agent") + 1, f"ReadWritePaths={_quoted(log_folder)}")
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    """A path as systemd takes it: systemd.service(5), "Command lines"."""
    text = str(path).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if " " in text else text
