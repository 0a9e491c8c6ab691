"""The profiles that there are: those packaged with LMS evo, and own ones from a folder.

Reads TOML files and nothing else. A file that cannot be used is told with every problem in it, as the agent's
configuration is; it hides no other file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lms_protocol.checked_toml.explaining import explain
from lms_protocol.checked_toml.findings import Finding
from lms_protocol.checked_toml.problems import SettingsProblem, UnusableFile
from lms_protocol.checked_toml.reading import read_toml
from lms_protocol.errors import LmsError
from lms_protocol.instruments.model import Profile, ProfileFile

PACKAGED = Path(__file__).parent / "profiles"


class ProfileError(UnusableFile):
    """A profile cannot be used; the file, and all that was found in it."""


class UnknownProfile(LmsError):
    """There is no profile of that id.

    Attributes:
        id: what was asked for.
        known: the ids that there are.
    """

    def __init__(self, id_: str, known: tuple[str, ...]) -> None:
        self.id = id_
        self.known = known
        super().__init__(f'no profile "{id_}"; there are {", ".join(known)}')


def read_profile(path: Path) -> Profile:
    """Read and check the profile in a file.

    Raises:
        ProfileError: the file cannot be read, is no TOML, or holds anything that cannot be used; with all problems.
    """
    file = read_toml(path, ProfileError, missing="a profile there", meant="the profile")
    document: dict[str, Any] = {"profile": file.document}
    try:
        profile = ProfileFile.model_validate(document).profile
    except ValidationError as error:
        inner = [finding._replace(path=finding.path[1:]) for finding in explain(error, document, ProfileFile)]
        raise ProfileError(path, file.problems(inner)) from error
    if profile.id != path.stem:
        finding = Finding(("id",), f'"{profile.id}"', f'"{path.stem}", the name of the file without .toml')
        raise ProfileError(path, file.problems([finding]))
    return profile


@dataclass(frozen=True, slots=True)
class Entry:
    """A profile of the catalogue.

    Attributes:
        path: its file.
        own: whether it comes from the folder of own ones.
    """

    path: Path
    own: bool


class Catalogue:
    """Profiles by id; each file is read when it is asked for, and once.

    Args:
        folder: own profiles; each hides a packaged one of the same id. None: only the packaged ones.

    Raises:
        ProfileError: there is no such folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._entries = {path.stem: Entry(path, own=False) for path in sorted(PACKAGED.glob("*.toml"))}
        if folder is not None:
            if not folder.is_dir():
                problem = SettingsProblem(None, "", "no such folder", "a folder with profiles, one .toml file each")
                raise ProfileError(folder, [problem])
            self._entries |= {path.stem: Entry(path, own=True) for path in sorted(folder.glob("*.toml"))}
        self._read: dict[str, Profile] = {}

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Every profile's file, by id."""
        return self._entries

    def entry(self, id_: str) -> Entry:
        """The file of a profile.

        Raises:
            UnknownProfile: there is none of that id.
        """
        if id_ not in self._entries:
            raise UnknownProfile(id_, tuple(self._entries))
        return self._entries[id_]

    def get(self, id_: str) -> Profile:
        """The profile of an id.

        Raises:
            UnknownProfile: there is none.
            ProfileError: its file cannot be used.
        """
        if id_ not in self._read:
            self._read[id_] = read_profile(self.entry(id_).path)
        return self._read[id_]

    def __iter__(self) -> Iterator[Profile]:
        """All profiles, in the order of their ids.

        Raises:
            ProfileError: a file cannot be used.
        """
        return (self.get(id_) for id_ in sorted(self._entries))
