"""Become another program that dies with its parent: the last step before every process of the stand.

Run as a script, isolated (``python -I -S launcher.py PARENT SIGNAL UID GID PROGRAM ARG …``), by ``spawning.spawn``.
It imports nothing of LMS evo, so that it starts in milliseconds and works from any folder.

Order matters. Changing the user clears the parent-death signal, so the user comes first. The parent may have died
before the signal was set, so we look afterwards whether it is still our parent. ``exec`` keeps the signal.

Source: prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
KEEP = -1
EXIT_CANNOT_RUN = 126


def fail(sentence: str) -> None:
    """Say on stderr, which is the program's log, why it could not be started, and end."""
    os.write(2, f"launcher: {sentence}\n".encode())
    os._exit(EXIT_CANNOT_RUN)


def drop_to(uid: int, gid: int) -> None:
    """Give up root for good: groups, group and user, in the only order that works."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def die_with(parent: int, signal_number: int) -> None:
    """Ask the kernel for ``signal_number`` at the parent's death; end at once if it is dead already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        fail(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        os._exit(0)


def main(arguments: list[str]) -> None:
    """Drop to the user, tie ourselves to the parent, and become the program."""
    parent, signal_number, uid, gid = (int(argument) for argument in arguments[:4])
    program = arguments[4:]
    try:
        if uid != KEEP:
            drop_to(uid, gid)
        die_with(parent, signal_number)
        os.umask(0o077)
        os.execvp(program[0], program)  # noqa: S606  the program is named by the stand, no shell is wanted
    except OSError as error:
        fail(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
