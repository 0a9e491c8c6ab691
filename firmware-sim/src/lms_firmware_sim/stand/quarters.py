"""Where a service may live when it must not run as root: which user it drops to, and which folders that user reaches.

PostgreSQL refuses to run as root, and the broker should not. Started as root, both drop to another user. A folder
under, say, /root cannot be reached by that user, and permissions of folders that are not ours stay as they are: such
a service gets a folder under /var/lib/lms-evo instead. Its name comes from the wanted folder's path, and
a file ``<wanted>.elsewhere`` beside the wanted folder says where it is. See docs/decisions/0021-dropping-root.md.
"""

import hashlib
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from lms_firmware_sim.stand.errors import UserMissingError

CANDIDATES = ("nobody", "postgres", "daemon")
ELSEWHERE = Path("/var/lib/lms-evo")


@dataclass(frozen=True)
class ServiceUser:
    """The user that services drop to."""

    name: str
    uid: int
    gid: int


def service_user() -> ServiceUser | None:
    """Whom services run as when we are root; None when we are an ordinary user and they run as we do.

    Raises:
        UserMissingError: none of the candidates exists.
    """
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServiceUser(name, entry.pw_uid, entry.pw_gid)
    raise UserMissingError(CANDIDATES)


def reachable(folder: Path, user: ServiceUser | None) -> bool:
    """Whether ``user`` may pass through ``folder`` and all its parents."""
    if user is None:
        return True
    return all(_may_pass(parent, user) for parent in (folder, *folder.parents) if parent.exists())


def _may_pass(folder: Path, user: ServiceUser) -> bool:
    status = folder.stat()
    if status.st_uid == user.uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == user.gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def prepare(wanted: Path, user: ServiceUser | None) -> Path:
    """The folder of a service, ours and not its user's: ``wanted``, or its stand-in elsewhere."""
    wanted = wanted.resolve()
    folder = wanted if reachable(wanted.parent, user) else _elsewhere(wanted)
    if folder != wanted:
        ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        _note(wanted).write_text(f"{folder}\n")
    folder.mkdir(mode=0o711, exist_ok=True)
    folder.chmod(0o711)
    return folder


def closed_folder(folder: Path, user: ServiceUser | None) -> Path:
    """A folder that only the service's user may open, where the service keeps what it writes."""
    folder.mkdir(mode=0o700, exist_ok=True)
    own(folder, user)
    return folder


def remove(wanted: Path) -> None:
    """Remove a service's folder, wherever it is."""
    wanted = wanted.resolve()
    note = _note(wanted)
    if note.exists():
        # The path is computed, never taken from the note: a note that somebody edited must not choose what we delete.
        shutil.rmtree(_elsewhere(wanted), ignore_errors=True)
        note.unlink()
    if wanted.exists():
        shutil.rmtree(wanted)


def own(path: Path, user: ServiceUser | None) -> None:
    """Hand ``path`` to the service's user."""
    if user is not None:
        os.chown(path, user.uid, user.gid)


def _elsewhere(wanted: Path) -> Path:
    return ELSEWHERE / f"{wanted.name}-{hashlib.sha256(str(wanted).encode()).hexdigest()[:16]}"


def _note(wanted: Path) -> Path:
    return wanted.with_name(f"{wanted.name}.elsewhere")
