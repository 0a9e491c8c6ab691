"""A Debian machine for a test: this machine's files under an overlay, with its own systemd, users and processes.

What is installed, written or broken in it is gone with it: all changes lie in an overlay in memory. It shares with this
machine the kernel, the clock and the network, so that a simulated instrument on 127.0.0.1 can be read. systemd is the
real one, process 1 of a PID namespace; kernel settings and devices are out of its reach (/proc/sys and /sys are mounted
read-only, /dev has what a program needs and no disk).

Needs root, Debian with systemd and Python of its own, and overlayfs; `lacking` says what is missing.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BOOTED_WITHIN_S = 60.0
_NEEDED = ("dpkg", "dpkg-deb", "unshare", "nsenter", "mount", "chroot", "adduser", "deb-systemd-invoke", "runuser")
_SYSTEMD = Path("/lib/systemd/systemd")
_BOOT = r"""
set -e
mount --make-rprivate /
# Other tests' disks would stay in use here after they are unmounted there, and could not be mounted again.
awk '$1 ~ "^/dev/loop" { print $1 }' /proc/self/mounts | sort -u | xargs -r umount -l
mount -t proc proc "$ROOT/proc"
mount --bind "$ROOT/proc/sys" "$ROOT/proc/sys"
mount -o remount,bind,ro "$ROOT/proc/sys"
mount -t sysfs -o ro sysfs "$ROOT/sys"
mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev"
for device in null zero full random urandom tty; do
  touch "$ROOT/dev/$device"; mount --bind "/dev/$device" "$ROOT/dev/$device"
done
mkdir "$ROOT/dev/shm"; mount -t tmpfs tmpfs "$ROOT/dev/shm"
touch "$ROOT/dev/console"; mount --bind "$CONSOLE" "$ROOT/dev/console"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/run"
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  chroot "$ROOT" /lib/systemd/systemd --system --unit=basic.target --log-target=console
"""


def lacking() -> str:
    """What such a machine lacks here; "" if nothing."""
    if os.geteuid():
        return "root"
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return f"the programs {', '.join(missing)}"
    if not _SYSTEMD.exists():
        return "systemd"
    return "" if "overlay" in Path("/proc/filesystems").read_text() else "overlayfs"


class DebianMachine:
    """One machine, booted.

    Attributes:
        root: its files, as this machine sees them.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._layers = folder / "layers"
        self._console = folder / "console"
        self._cgroup = _cgroups() / f"lms-test-{os.getpid()}-{folder.name}"
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def boot(self) -> None:
        """Lay the overlay and start systemd in it; back once it runs."""
        for path in (self.root, self._layers):
            path.mkdir(parents=True)
        self._console.touch()
        _host("mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "tmpfs", self._layers)
        for layer in ("upper", "work"):
            (self._layers / layer).mkdir()
        layers = f"lowerdir=/,upperdir={self._layers}/upper,workdir={self._layers}/work"
        _host("mount", "-t", "overlay", "-o", layers, "overlay", self.root)
        # Where this machine is a container, it may forbid packages to start services; this one is none.
        (self.root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        self._cgroup.mkdir()
        into = f'echo $$ > "{self._cgroup}/cgroup.procs"; exec "$@"'
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                [
                    *("sh", "-c", into, "sh"),
                    *("unshare", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--kill-child=SIGKILL"),
                    *("sh", "-c", _BOOT),
                ],
                env={"PATH": os.environ["PATH"], "ROOT": str(self.root), "CONSOLE": str(self._console)},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        deadline = time.monotonic() + BOOTED_WITHIN_S
        while True:
            assert self._process.poll() is None, self._console.read_text()
            assert time.monotonic() < deadline, self._console.read_text()
            found = children.read_text().split()
            if found:
                self._init = int(found[0])
                state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if state in {"running", "degraded"}:
                    return
            time.sleep(0.1)

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root."""
        entering = ("nsenter", "-t", str(self._init), "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--wd=/")
        answer = subprocess.run(
            [*entering, "chroot", self.root, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or answer.returncode == 0, f"{command}: {answer.returncode}\n{answer.stdout}{answer.stderr}"
        return answer

    def unit(self, name: str, asked: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={asked}", name).stdout.strip()

    def words(self, name: str) -> str:
        """How a unit does, and what it said last."""
        return self.run("systemctl", "status", "--no-pager", "--lines=30", name, check=False).stdout

    def install(self, package: Path) -> str:
        """Install or upgrade a package with dpkg; what was said."""
        copy = self.root / "root" / package.name
        shutil.copyfile(package, copy)
        answer = self.run("dpkg", "--install", Path("/root") / package.name)
        return answer.stdout + answer.stderr

    def end(self) -> None:
        """Stop all its processes and give back what it had."""
        if self._process is not None:
            if self._init:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._init, signal.SIGKILL)  # the kernel ends all of its namespace with it
            else:
                self._process.kill()
            self._process.wait()
        for path in (self.root, self._layers):
            subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)
        for folder, _, _ in os.walk(self._cgroup, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


@contextmanager
def debian_machine(folder: Path) -> Iterator[DebianMachine]:
    """A booted machine; skips the test, and says why, where there can be none."""
    reason = lacking()
    if reason:
        pytest.skip(f"needs {reason} to boot a Debian machine of its own")
    machine = DebianMachine(folder)
    try:
        machine.boot()
        yield machine
    finally:
        machine.end()


def _cgroups() -> Path:
    """Where the second version of control groups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return Path("/sys/fs/cgroup")


def _host(*command: str | Path) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{command}: {answer.stderr}"
