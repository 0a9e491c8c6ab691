"""Which log a command means, and how a command ends when something is wrong.

The commands that only look at the log need no right to the broker's password: they read the log's place from the
configuration and nothing else of it.
"""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from lms_protocol.errors import LmsError

from lms_agent.errors import SettingsError, SettingsProblem
from lms_agent.settings.loading import default_path

FAILED = 1
UNUSABLE = 2
CONFIG_HELP = "The agent's TOML file; by default $LMS_AGENT_CONFIG, else /etc/lms-evo/agent.toml."


def find_log(config: Path | None, log: Path | None) -> Path:
    """The log's path: as given, or as the configuration says.

    Raises:
        SettingsError: the configuration does not say.
    """
    if log is not None:
        return log
    path = config or default_path()
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))["agent"]["log"]
    except OSError as error:
        problem = SettingsProblem(None, "", f"a file that cannot be read ({error.strerror})", "a configuration there")
        raise SettingsError(path, [problem]) from error
    except (ValueError, KeyError, TypeError) as error:
        problem = SettingsProblem(None, "agent.log", "nothing usable", "the path of the log; see `lms-agent check`")
        raise SettingsError(path, [problem]) from error
    return path.absolute().parent / Path(str(text)).expanduser()


@contextmanager
def ending() -> Iterator[None]:
    """Turn our errors into a sentence and an exit code: 2 if the configuration is at fault, else 1."""
    try:
        yield
    except SettingsError as error:
        typer.echo(f"lms-agent: {error}", err=True)
        raise typer.Exit(UNUSABLE) from error
    except (LmsError, OSError) as error:
        typer.echo(f"lms-agent: {error}", err=True)
        raise typer.Exit(FAILED) from error
