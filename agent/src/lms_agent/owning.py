"""Files beside the log, made so that the agent can use them, also where `sudo` made them.

A technician may set, lock or import with `sudo` before the agent has ever run, or while it stands still. What is made
then belongs to whom the folder belongs, as if the agent itself had made it; else it could not start afterwards.

Neighbours: `lms_agent.log` and `lms_agent.commands.store` make their files with it.
"""

import errno
import os
import stat
from pathlib import Path

FILE_MODE = 0o640


def open_or_make(path: Path, flags: int = os.O_RDWR, *, follow: bool = True) -> int:
    """Open a file, which is made if it is not there; its descriptor.

    Args:
        follow: whether a symbolic link may lead to it. What a link leads to keeps its owner.

    Raises:
        OSError: it cannot be opened or made.
    """
    flags |= os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        if error.errno != errno.ELOOP or not follow:
            raise
        return os.open(path, flags, FILE_MODE)
    try:
        _leave_to_agent(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _leave_to_agent(descriptor: int, path: Path) -> None:
    if os.geteuid() != 0:
        return
    file, folder = os.fstat(descriptor), path.parent.stat()
    is_new = stat.S_ISREG(file.st_mode) and file.st_size == 0 and file.st_nlink == 1
    if is_new and (file.st_uid, file.st_gid) != (folder.st_uid, folder.st_gid):
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
