"""From a TOML file to its document and its lines, or to one `UnusableFile` that says what is wrong with it.

Neighbours: `locating.py` finds the lines; `lms_agent.settings.loading` and `lms_protocol.instruments.catalogue` check
what the document says.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lms_protocol.checked_toml.explaining import written_path
from lms_protocol.checked_toml.findings import Finding, KeyPath
from lms_protocol.checked_toml.locating import line_of, locate
from lms_protocol.checked_toml.problems import SettingsProblem, UnusableFile

_DECODE_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file that is TOML.

    Attributes:
        path: the file.
        text: as it stands there.
        document: what it says.
    """

    path: Path
    text: str
    document: dict[str, Any]

    def problems(
        self,
        findings: Iterable[Finding],
        document: Mapping[str, Any] | None = None,
        written: Callable[[KeyPath], KeyPath] = lambda path: path,
    ) -> list[SettingsProblem]:
        """The findings with their lines, in the order of the file, each once.

        Args:
            findings: what is wrong, at key paths of `document`.
            document: what was checked, if it is not what the file says but was made from it.
            written: where in the file stands what is at a key path of `document`.
        """
        lines = locate(self.text)
        named = self.document if document is None else document
        problems = [
            SettingsProblem(
                line_of(lines, written(finding.path)),
                written_path(finding.path, named),
                finding.found,
                finding.allowed,
            )
            for finding in findings
        ]
        return sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)


def read_toml(path: Path, refusal: type[UnusableFile], *, missing: str, meant: str) -> TomlFile:
    """Read and parse a file.

    Args:
        path: the file.
        refusal: what is raised.
        missing: the remedy if there is no such file.
        meant: what it should be, such as "the configuration file".

    Raises:
        UnusableFile: (`refusal`) it cannot be read, or is no TOML.
    """
    text = _text_of(path, refusal, missing, meant)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _DECODE_PLACE.search(message)
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        found = f"text that is not TOML ({_DECODE_PLACE.sub('', message)})"
        raise refusal(path, [SettingsProblem(line, "", found, "TOML 1.0, see toml.io")]) from error
    return TomlFile(path, text, document)


def _text_of(path: Path, refusal: type[UnusableFile], missing: str, meant: str) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{error.object[error.start]:02x}, which is not UTF-8"
        raise refusal(path, [SettingsProblem(line, "", found, "text in UTF-8")]) from error
    except FileNotFoundError:
        found, allowed = "no such file", missing
    except IsADirectoryError:
        found, allowed = "a folder", f"{meant} itself"
    except PermissionError:
        found, allowed = "a file that this account may not read", "a file readable by the agent's account"
    except OSError as error:
        found, allowed = f"a file that cannot be read ({error.strerror})", "a readable file"
    raise refusal(path, [SettingsProblem(None, "", found, allowed)])
