"""From the TOML file to `AgentSettings`, or to one `SettingsError` that names every problem with its line.

Between `expanding.py` (what profiles say), `model.py` (what each table may hold), `consistency.py` (what the tables may
not hold together) and `lms_protocol.checked_toml` (the file, its lines, and pydantic's errors in plain words).
"""

import os
import stat
from pathlib import Path

from lms_protocol.checked_toml.explaining import explain
from lms_protocol.checked_toml.findings import Finding, KeyPath
from lms_protocol.checked_toml.reading import read_toml
from pydantic import ValidationError

from lms_agent.errors import SettingsError
from lms_agent.settings.consistency import contradictions
from lms_agent.settings.expanding import expand
from lms_agent.settings.model import AgentSettings

PATH_VARIABLE = "LMS_AGENT_CONFIG"
DEFAULT_PATH = Path("/etc/lms-evo/agent.toml")
_MISSING = f"a configuration there, named as argument or in ${PATH_VARIABLE}; `lms-agent init` writes one"


def default_path() -> Path:
    """The configuration that is meant when none is named: $LMS_AGENT_CONFIG, else /etc/lms-evo/agent.toml."""
    named = os.environ.get(PATH_VARIABLE)
    return Path(named) if named else DEFAULT_PATH


def load_settings(path: Path, *, with_secret: bool = True) -> AgentSettings:
    """Read and check the whole configuration.

    Args:
        with_secret: whether this account must be able to read the broker's password; technicians, who ask the running
            agent or look at instruments, need not.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or holds anything that cannot be used; with all problems.
    """
    file = read_toml(path, SettingsError, missing=_MISSING, meant="the configuration file")
    base = path.absolute().parent
    expansion = expand(file.document, base)
    document = expansion.document
    findings: list[Finding] = []
    settings = None
    try:
        settings = AgentSettings.model_validate(document, context={"base": base})
    except ValidationError as error:
        findings += explain(error, document, AgentSettings)
    findings += contradictions(document)
    if settings is not None:
        findings += _unfit_files(settings, with_secret=with_secret)
    findings = expansion.told(findings)
    if findings or expansion.findings or settings is None:
        problems = file.problems(findings, document, expansion.written) + file.problems(expansion.findings)
        raise SettingsError(path, sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0))
    return settings


def _unfit_files(settings: AgentSettings, *, with_secret: bool) -> list[Finding]:
    """The secret must be there and be secret; certificates must be there."""
    findings = []
    password = settings.broker.password_file
    path: KeyPath = ("broker", "password_file")
    try:
        status = password.stat()
        text = settings.broker.read_password()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        if with_secret or not isinstance(error, PermissionError):
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
