"""From the TOML file to `AgentSettings`, or to one `SettingsError` that names every problem with its line.

Between `model.py` (what each table may hold), `consistency.py` (what the tables may not hold together) and
`locating.py` (the lines).
"""

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lms_agent.errors import SettingsError, SettingsProblem
from lms_agent.settings.consistency import Finding, contradictions
from lms_agent.settings.explaining import explain, written_path
from lms_agent.settings.locating import KeyPath, line_of, locate
from lms_agent.settings.model import AgentSettings

PATH_VARIABLE = "LMS_AGENT_CONFIG"
DEFAULT_PATH = Path("/etc/lms-evo/agent.toml")

_DECODE_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def default_path() -> Path:
    """The configuration that is meant when none is named: $LMS_AGENT_CONFIG, else /etc/lms-evo/agent.toml."""
    named = os.environ.get(PATH_VARIABLE)
    return Path(named) if named else DEFAULT_PATH


def load_settings(path: Path) -> AgentSettings:
    """Read and check the whole configuration.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or holds anything that cannot be used; with all problems.
    """
    text = _read(path)
    document = _parse(path, text)
    lines = locate(text)
    findings: list[Finding] = []
    settings = None
    try:
        settings = AgentSettings.model_validate(document, context={"base": path.absolute().parent})
    except ValidationError as error:
        findings += explain(error, document)
    findings += contradictions(document)
    if settings is not None:
        findings += _unfit_files(settings)
    if findings or settings is None:
        raise SettingsError(path, _problems(findings, document, lines))
    return settings


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = SettingsProblem(
            line, "", f"byte 0x{error.object[error.start]:02x}, which is not UTF-8", "text in UTF-8"
        )
        raise SettingsError(path, [problem]) from error
    except FileNotFoundError:
        found, allowed = "no such file", f"a configuration there, named as argument or in ${PATH_VARIABLE}"
    except IsADirectoryError:
        found, allowed = "a folder", "the configuration file itself"
    except PermissionError:
        found, allowed = "a file that this account may not read", "a file readable by the agent's account"
    except OSError as error:
        found, allowed = f"a file that cannot be read ({error.strerror})", "a readable file"
    raise SettingsError(path, [SettingsProblem(None, "", found, allowed)])


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _DECODE_PLACE.search(message)
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        found = f"text that is not TOML ({_DECODE_PLACE.sub('', message)})"
        raise SettingsError(path, [SettingsProblem(line, "", found, "TOML 1.0, see toml.io")]) from error


def _problems(findings: list[Finding], document: dict[str, Any], lines: dict[KeyPath, int]) -> list[SettingsProblem]:
    problems = [
        SettingsProblem(
            line_of(lines, finding.path), written_path(finding.path, document), finding.found, finding.allowed
        )
        for finding in findings
    ]
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda problem: problem.line or 0)


def _unfit_files(settings: AgentSettings) -> list[Finding]:
    """The secret must be there and be secret; certificates must be there."""
    findings = []
    password = settings.broker.password_file
    path: KeyPath = ("broker", "password_file")
    try:
        status = password.stat()
        text = settings.broker.read_password()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        findings.append(
            Finding(path, f'"{password}" ({reason})', "a file that holds the account's password, mode 0600")
        )
    else:
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            remedy = f'a file that only its owner may read: `chmod 600 "{password}"`'
            findings.append(Finding(path, f'"{password}" with mode {mode:04o}', remedy))
        if not text:
            findings.append(Finding(path, f'"{password}", which is empty', "a file that holds the account's password"))
    ca_file = settings.broker.ca_file
    if ca_file is not None and not ca_file.is_file():
        findings.append(
            Finding(("broker", "ca_file"), f'"{ca_file}" (no such file)', "a file with certificates in PEM form")
        )
    return findings
