"""Start a program that dies with us, whatever kills us. Neighbour: ``launcher``, the script that becomes the program.

The kernel sends the parent-death signal when the *thread* that started the child ends. So start programs from a
thread that lives as long as they shall.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from lms_firmware_sim.stand.launcher import KEEP
from lms_firmware_sim.stand.quarters import ServiceUser

LAUNCHER = Path(__file__).with_name("launcher.py")
POLL_S = 0.02
LARGEST_LOG_BYTES = 10_000_000


def spawn(
    argv: Sequence[str | Path],
    *,
    log_path: Path,
    env: Mapping[str, str],
    cwd: Path,
    user: ServiceUser | None = None,
    on_parent_death: signal.Signals = signal.SIGKILL,
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` in a session of its own, so that Ctrl-C in the terminal reaches only us and we stop it in order.

    Args:
        argv: program and arguments.
        log_path: its stderr, and its stdout unless ``stdout`` says otherwise, are appended here (0600).
        env: its whole environment.
        cwd: its working folder.
        user: whom it drops to; None keeps ours.
        on_parent_death: what the kernel sends it when we die.
        stdout: as for subprocess.Popen, to read what it prints.
    """
    with open_log(log_path) as log:
        return subprocess.Popen(
            tied(argv, user=user, on_parent_death=on_parent_death),
            stdin=subprocess.DEVNULL,
            stdout=log if stdout is None else stdout,
            stderr=log,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )


def tied(
    argv: Sequence[str | Path],
    *,
    user: ServiceUser | None = None,
    on_parent_death: signal.Signals = signal.SIGKILL,
) -> list[str]:
    """The command line that runs ``argv`` so that it dies with this process."""
    uid, gid = (KEEP, KEEP) if user is None else (user.uid, user.gid)
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(on_parent_death))]
    return [*launcher, str(uid), str(gid), *(str(part) for part in argv)]


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to, readable by us alone; one that has grown large makes room, and is kept once."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LARGEST_LOG_BYTES:
            path.rename(path.with_suffix(".old.log"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def last_words(path: Path, lines: int = 8) -> str:
    """The last ``lines`` lines of a log; empty when there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def stop(process: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """End a process: each signal in turn, with the seconds it has to obey, at last SIGKILL."""
    for signal_number, patience_s in steps:
        if process.poll() is not None:
            return
        process.send_signal(signal_number)
        if ended(process, patience_s):
            return
    process.kill()
    process.wait()


def ended(process: subprocess.Popen[bytes], patience_s: float) -> bool:
    """Whether the process ends within ``patience_s`` seconds."""
    deadline = time.monotonic() + patience_s
    while process.poll() is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
