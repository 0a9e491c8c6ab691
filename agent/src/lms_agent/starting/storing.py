"""The file and the password beside it: written, checked as the agent will, and only then there.

Nothing half done is left behind: a configuration that cannot be used never takes the place of one that can.
"""

import os
import pwd
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lms_protocol.checked_toml.problems import SettingsProblem
from lms_protocol.errors import LmsError

from lms_agent.errors import SettingsError
from lms_agent.settings import AgentSettings, load_settings
from lms_agent.starting.answers import Answers
from lms_agent.starting.writing import toml_of

CONFIG_MODE, SECRET_MODE = 0o640, 0o600


class StoringError(LmsError):
    """The file cannot be written there."""


class AnswersRefused(LmsError):
    """What was answered makes no configuration.

    Attributes:
        problems: all of them.
    """

    def __init__(self, problems: Sequence[SettingsProblem]) -> None:
        self.problems = tuple(problems)
        told = "; ".join(f"{problem.key}: found {problem.found}; allowed: {problem.allowed}" for problem in problems)
        super().__init__(f"these answers make no configuration: {told}")


def check_place(path: Path, *, force: bool) -> None:
    """Make sure, before anything is asked, that the file may be written.

    Raises:
        StoringError: it is there already, or this account may not.
    """
    if path.exists() and not force:
        raise StoringError(
            f"{path} is there already; edit it, or write another with --output, or replace it with --force"
        )
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise StoringError(
            f"this account may not write in {folder}: `sudo lms-agent init`, or another place with --output"
        )


def store(path: Path, answers: Answers, password: str | None) -> AgentSettings:
    """Write both files; the configuration only if it can be used.

    Args:
        password: None: its file is there already.

    Raises:
        StoringError: the disk refuses.
        AnswersRefused: the configuration would be of no use; nothing was changed.
    """
    fresh = path.with_name(f".{path.name}.new")
    secret = path.parent / answers.password_file
    made = password is not None and not secret.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if password is not None:
            _write(secret, password + "\n", SECRET_MODE)
        _write(fresh, toml_of(answers), CONFIG_MODE)
        settings = load_settings(fresh)
        fresh.replace(path)
        hand_over(path, None if password is None else secret)
    except SettingsError as error:
        if made:
            secret.unlink(missing_ok=True)
        raise AnswersRefused(error.problems) from error
    except OSError as error:
        raise StoringError(f"{error.filename or path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    return settings


def hand_over(path: Path, secret: Path | None, account: str = "lms-agent") -> bool:
    """Give the files that root has written to the account that the agent runs as; whether there is such an account.

    It may read the configuration, and it alone the password; without this the service could read neither.

    Args:
        secret: the password's file; None: it was there before, and is its owner's matter.

    Raises:
        StoringError: the disk refuses.
    """
    if os.geteuid():
        return False
    try:
        known = pwd.getpwnam(account)
    except KeyError:
        return False
    try:
        os.chown(path, 0, known.pw_gid)
        if secret is not None:
            os.chown(secret, known.pw_uid, known.pw_gid)
    except OSError as error:
        raise StoringError(f"{error.filename} cannot be given to {account}: {error.strerror}") from error
    return True


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
