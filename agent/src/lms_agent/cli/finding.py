"""Which log a command means, and how a command ends when something is wrong.

The commands that only look at the log need no right to the broker's password: they read the log's place from the
configuration and nothing else of it.
"""

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer
from lms_protocol.checked_toml.problems import SettingsProblem, UnusableFile
from lms_protocol.errors import LmsError

from lms_agent.cli.screen.prose import say
from lms_agent.errors import SettingsError
from lms_agent.log.damage.salvage import DamagedFile
from lms_agent.log.errors import ADVICE_ON_DAMAGE, LogMalformed, LogUnavailable
from lms_agent.settings.loading import default_path

FAILED = 1
UNUSABLE = 2
_WANTED = "a configuration there; `lms-agent init` writes one"
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
        named = Path(str(text)).expanduser()
    except OSError as error:
        problem = SettingsProblem(None, "", f"a file that cannot be read ({error.strerror})", _WANTED)
        raise SettingsError(path, [problem]) from error
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        problem = SettingsProblem(None, "agent.log", "nothing usable", "the path of the log; see `lms-agent check`")
        raise SettingsError(path, [problem]) from error
    return path.absolute().parent / named


@contextmanager
def ending(*, as_json: bool = False) -> Iterator[None]:
    """Turn our errors into a sentence and an exit code: 2 if the configuration is at fault, else 1.

    Args:
        as_json: for a program: the sentence goes to standard output, as the object's `error`.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read has seen enough, as in `lms-agent log | head`
    except (LmsError, OSError) as error:
        words = _advised(error)
        if as_json:
            typer.echo(json.dumps({"error": words}, ensure_ascii=False))
        else:
            say(f"lms-agent: {words}", err=True)
        raise typer.Exit(UNUSABLE if isinstance(error, UnusableFile) else FAILED) from error


def _advised(error: LmsError | OSError) -> str:
    """What is wrong, and, of a damaged log, what to do: the agent does it by itself, and says so without the advice."""
    if not isinstance(error, LogMalformed):
        return str(error)
    with suppress(OSError), DamagedFile(error.path) as file:
        if not file.is_ours():
            return str(LogUnavailable(error.path, "it is no log of an agent", "check the path"))
    return f"{error} {ADVICE_ON_DAMAGE}"
