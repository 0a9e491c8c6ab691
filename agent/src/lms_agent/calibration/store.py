"""All calibrations of an agent, in a file beside the log: `<log>.calibrations`, one line of JSON each, never changed.

    4c1f09ae 412 {"number":3,"bioreactor":"R1","tag":"pH/PV", …}      CRC-32 and bytes of the text, and the calibration

Between them stand lines of what instruments were about to be told (`adjusting.py`).

A file of its own, because a log may be set aside for another and what corrects readings must not go with it; lines of
text, because they are read for years, by people too, and one that is damaged takes no other along. What `append`
returned is on the disk. A last line that a power cut tore was never confirmed; the next one takes its place.

If a line is damaged, nobody knows whose it was: tags whose newest calibration stands before it are *in doubt*, until
they are calibrated again. So are tags whose instrument was told a reference of which nobody wrote down what came of it.

Neighbours: `lms_agent.processing.correcting` asks which one holds; `lms-agent calibrate` and the agent's door append.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

from lms_protocol.errors import LmsError

from lms_agent.calibration.adjusting import BEGUN, WITHDRAWN, Adjusting
from lms_agent.calibration.record import Calibration

_Made = TypeVar("_Made", Calibration, Adjusting)
FILE_MODE = 0o640


class StoreUnavailable(LmsError):
    """The calibrations cannot be read or written.

    Attributes:
        path: the file.
        reason: why.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}, where calibrations are kept, cannot be used: {reason}")


@dataclass(frozen=True)
class Calibrations:
    """What the file holds.

    Attributes:
        history: all that can be read, in the order made.
        damaged: numbers of the lines that cannot, from 1.
        in_doubt_below: calibrations up to this number stand before the last damaged line.
        adjusting: what instruments were about to be told, and no confirmed calibration of their tag came after it.
    """

    history: tuple[Calibration, ...] = ()
    damaged: tuple[int, ...] = ()
    in_doubt_below: int = 0
    adjusting: tuple[Adjusting, ...] = ()

    def newest(self, bioreactor: str, tag: str) -> Calibration | None:
        """The one that holds for a tag; None if it was never calibrated."""
        return self._newest.get((bioreactor, tag))

    @cached_property
    def _newest(self) -> dict[tuple[str, str], Calibration]:
        return {(one.bioreactor, one.tag): one for one in self.history}

    def in_doubt(self, bioreactor: str, tag: str) -> bool:
        """Whether a damaged line may have been the newest of a tag, or a calibration was begun and has not ended."""
        return bool(self.doubt_of(bioreactor, tag))

    def doubt_of(self, bioreactor: str, tag: str) -> str:
        """Why it is in doubt which calibration holds for a tag, in words; "" if it is not."""
        newest = self.newest(bioreactor, tag)
        if self.damaged and (newest is None or newest.number <= self.in_doubt_below):
            return "its newest calibration may have been in a damaged line"
        open_ = [str(one) for one in self.adjusting if (one.bioreactor, one.tag) == (bioreactor, tag)]
        return f"its instrument was told a reference ({open_[-1]}); what came of it is not known" if open_ else ""

    @classmethod
    def unreadable(cls) -> Self:
        """What is known of a file that cannot be read: nothing, and every tag is in doubt."""
        return cls(damaged=(0,))

    def trouble(self, path: Path) -> str:
        """What is wrong with the file, in a sentence; "" if nothing is."""
        if not self.damaged:
            return ""
        lines = ", ".join(map(str, self.damaged))
        return f"{path} is damaged in line {lines}: a calibration cannot be read."

    def to_json(self) -> dict[str, Any]:
        """For the door; `from_json` reads it."""
        return {
            "history": [one.to_json() for one in self.history],
            "damaged": list(self.damaged),
            "in_doubt_below": self.in_doubt_below,
            "adjusting": [one.to_json() for one in self.adjusting],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` told.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        history = tuple(Calibration.from_json(one) for one in data["history"])
        adjusting = tuple(Adjusting.from_json(one) for one in data.get("adjusting", ()))
        return cls(history, tuple(map(int, data["damaged"])), int(data["in_doubt_below"]), adjusting)

    @property
    def next_number(self) -> int:
        """The number of the next one; those of damaged lines are not given again."""
        return max((one.number for one in self.history), default=0) + len(self.damaged) + 1


def store_path(log_path: Path) -> Path:
    """The file beside a log."""
    return log_path.with_name(log_path.name + ".calibrations")


def load(log_path: Path) -> Calibrations:
    """Read all calibrations; none if there is no file.

    Raises:
        StoreUnavailable: it cannot be read.
    """
    path = store_path(log_path)
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return Calibrations()
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from error


def load_or_doubt(log_path: Path) -> Calibrations:
    """All calibrations; if they cannot be read, every calibrated tag is in doubt."""
    try:
        return load(log_path)
    except StoreUnavailable:
        return Calibrations.unreadable()


def append(log_path: Path, make: Callable[[Calibrations], Calibration]) -> tuple[Calibration, Calibrations]:
    """Write one calibration down; it is on the disk when this returns.

    Args:
        make: makes it, knowing those before it; its number must be their `next_number`.

    Returns:
        It, and all that there are now.

    Raises:
        StoreUnavailable: the disk refuses; nothing was written that counts.
        whatever `make` raises: nothing was written.
    """
    return _append(log_path, make)


def begin(log_path: Path, one: Adjusting) -> Calibrations:
    """Write down that an instrument is about to be told a reference; it is on the disk when this returns.

    Returns:
        All that there is now.

    Raises:
        StoreUnavailable: the disk refuses; then nothing may be told.
    """
    return _append(log_path, lambda _: one._replace(state=BEGUN))[1]


def withdraw(log_path: Path, one: Adjusting) -> Calibrations:
    """Write down that the instrument has certainly not taken what was begun.

    Raises:
        StoreUnavailable: the disk refuses; the tag stays in doubt.
    """
    return _append(log_path, lambda _: one._replace(state=WITHDRAWN))[1]


@contextmanager
def noted(log_path: Path, one: Adjusting, unknown: type[LmsError]) -> Iterator[None]:
    """Around the telling of a reference: begun before it, withdrawn if it was certainly not taken.

    Args:
        unknown: the error of which nobody knows.

    Raises:
        StoreUnavailable: the disk refuses; nothing was told.
    """
    begin(log_path, one)
    try:
        yield
    except unknown:
        raise
    except LmsError:
        with suppress(StoreUnavailable):
            withdraw(log_path, one)
        raise


def _append(log_path: Path, make: Callable[[Calibrations], _Made]) -> tuple[_Made, Calibrations]:
    path = store_path(log_path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the agent and a command may want to at once
        _give_to_agent(descriptor, path)
        before = _without_torn(_read_all(descriptor))
        made = make(_parse(before))
        line = _line(made) if before.endswith(b"\n") or not before else b"\n" + _line(made)
        _write(descriptor, line, len(before))
        _sync_folder(path)
        return made, _parse(before + line)
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from error
    finally:
        os.close(descriptor)


def _write(descriptor: int, line: bytes, length: int) -> None:
    """All of a line behind the first `length` bytes, or nothing of it."""
    try:
        os.ftruncate(descriptor, length)
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, length)
        raise


def _give_to_agent(descriptor: int, path: Path) -> None:
    """Let a file that `sudo` makes belong to whom its folder belongs: the agent must be able to read it."""
    if os.geteuid() == 0 and os.fstat(descriptor).st_size == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)


def _read_all(descriptor: int) -> bytes:
    data = b""
    while part := os.pread(descriptor, 1 << 20, len(data)):
        data += part
    return data


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _line(entry: Calibration | Adjusting) -> bytes:
    text = json.dumps(entry.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %d %s\n" % (zlib.crc32(text), len(text), text)


def _parse(data: bytes) -> Calibrations:
    history: list[Calibration] = []
    damaged: list[int] = []
    adjusting: list[Adjusting] = []
    in_doubt_below = 0
    for at, line in enumerate(_without_torn(data).split(b"\n"), start=1):
        entry = _entry(line)
        if isinstance(entry, Calibration):
            history.append(entry)
            key = entry.bioreactor, entry.tag
            if not entry.unconfirmed:
                adjusting = [one for one in adjusting if (one.bioreactor, one.tag) != key]
        elif isinstance(entry, Adjusting):
            _note(entry, adjusting)
        elif line:
            damaged.append(at)
            in_doubt_below = max((one.number for one in history), default=0)
    return Calibrations(tuple(history), tuple(damaged), in_doubt_below, tuple(adjusting))


def _note(one: Adjusting, begun: list[Adjusting]) -> None:
    """Take up what was begun; what is withdrawn is the last of its kind."""
    if one.state == BEGUN:
        begun.append(one)
        return
    for at in reversed(range(len(begun))):
        if begun[at].is_about(one):
            del begun[at]
            return


def _entry(line: bytes) -> Calibration | Adjusting | None:
    try:
        checksum, _, text = line.split(b" ", 2)
        if int(checksum, 16) != zlib.crc32(text):
            return None
        data = json.loads(text)
        return Adjusting.from_json(data) if "adjusting" in data else Calibration.from_json(data)
    except (ValueError, KeyError, TypeError):
        return None


def _without_torn(data: bytes) -> bytes:
    """The file without a last line that is shorter than it says, or says not even that."""
    end = data.rfind(b"\n") + 1
    last = data[end:]
    parts = last.split(b" ", 2)
    if last and (len(parts) < 3 or (parts[1].isdigit() and len(parts[2]) < int(parts[1]))):
        return data[:end]
    return data
