"""A disk under the real SQLite that forgets or tears, when the power goes, what was not synced.

SQLite asks its "VFS" for everything that touches a file. Ours is the system's own with three calls replaced: write,
truncate and sync. All goes to real files (in memory, where the system has such a place), so the log's own code, SQL,
WAL, locks and look-ups run as they are; beside that, each file has its *durable* content, which only a sync brings up
to date. After a power cut the file becomes: the durable content, and of the writes since then some, whole or torn.

What each file system promises differs; this one promises least of what SQLite's documentation asks of one ("Atomic
Commit In SQLite", "Powersafe Overwrite"): order is kept only across a sync, a torn write leaves bytes around it as they
were.
"""

import _sqlite3
import ctypes
import os
import sqlite3
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

SECTOR = 512
IOERR, IOERR_WRITE, IOERR_SYNC, FULL, OK = 10, 778, 1034, 13, 0
DURABLE_KINDS = 0x00000100 | 0x00000800 | 0x00080000  # main database, main journal, WAL


_METHODS = (
    "close read write truncate sync file_size lock unlock check_reserved_lock file_control sector_size"
    " device_characteristics shm_map shm_lock shm_barrier shm_unmap fetch unfetch"
)


class _Methods(ctypes.Structure):
    _fields_ = (("version", ctypes.c_int), *((name, ctypes.c_void_p) for name in _METHODS.split()))


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        *((f"call_{index}", ctypes.c_void_p) for index in range(15)),
    )


# Names are passed on as addresses: SQLite keeps the very address that it gave us.
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class _Change(NamedTuple):
    """A write (`data`) or a truncation (`data` is None) at `offset` that is not synced."""

    offset: int
    data: bytes | None


class _File:
    """One file, whatever it is called: what the disk surely has, and what it may have."""

    def __init__(self, disk: "Disk", path: Path) -> None:
        self.disk = disk
        self.held = os.open(path, os.O_RDONLY)  # so that no other file gets this one's number while we know it
        self.durable = bytearray(path.read_bytes())
        self.exists_durably = bool(self.durable)
        self.changes: list[_Change] = []

    def sync(self) -> None:
        for change in self.changes:
            _apply(self.durable, change)
        self.changes.clear()
        self.exists_durably = True

    def lose_power(self, rng: Random, path: Path) -> None:
        content = bytearray(self.durable)
        mood = rng.choice(("none", "some", "some", "prefix", "all"))
        kept = rng.randrange(len(self.changes) + 1)
        for index, change in enumerate(self.changes):
            if mood == "none" or (mood == "prefix" and index > kept):
                continue
            if mood == "some" and rng.random() < 0.5:
                continue
            torn = mood in {"some", "prefix"} and rng.random() < 0.3
            for piece in _torn(change, rng) if torn else (change,):
                _apply(content, piece)
        self.changes.clear()
        if not self.exists_durably and (mood == "none" or rng.random() < 0.5):
            path.unlink(missing_ok=True)
            content.clear()
        else:
            path.write_bytes(content)
            self.exists_durably = True
        self.durable = content


def _apply(content: bytearray, change: _Change) -> None:
    if change.data is None:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    if len(content) < change.offset:
        content.extend(bytes(change.offset - len(content)))
    content[change.offset : change.offset + len(change.data)] = change.data


def _torn(change: _Change, rng: Random) -> list[_Change]:
    """Some sectors of a write, each whole."""
    if change.data is None:
        return []
    end = change.offset + len(change.data)
    pieces: list[_Change] = []
    at = change.offset
    while at < end:
        until = min(end, (at // SECTOR + 1) * SECTOR)
        if rng.random() < 0.5:
            pieces.append(_Change(at, change.data[at - change.offset : until - change.offset]))
        at = until
    return pieces


class Disk:
    """One computer's disk: a folder of real files.

    Attributes:
        dead: the computer does nothing more: every call fails, so that nothing changes the files.
        refuses: what writes and syncs answer instead of working (an SQLite code), 0 for nothing.
        on_operation: called before each write, truncation and sync.
    """

    def __init__(self, folder: Path) -> None:
        _install()
        self.folder = folder
        self.dead = False
        self.refuses = OK
        self.on_operation: Callable[[], None] = _nothing
        self.operations = 0
        self._files: dict[int, _File] = {}  # by inode: logs are renamed
        self._connections: list[sqlite3.Connection] = []
        _disks[str(folder)] = self

    def forget(self) -> None:
        """The disk is no longer used."""
        self.let_go()
        self._forget_files()
        _disks.pop(str(self.folder), None)

    def _forget_files(self) -> None:
        for file in self._files.values():
            os.close(file.held)
        self._files.clear()

    def file(self, path: Path) -> _File:
        """The file at `path`, which is there."""
        inode = path.stat().st_ino
        if inode not in self._files:
            self._files[inode] = _File(self, path)
        return self._files[inode]

    def deleted(self, path: Path) -> None:
        """SQLite has deleted a file, durably."""
        file = self._files.pop(path.stat().st_ino, None) if path.exists() else None
        if file is not None:
            os.close(file.held)

    def opened(self, connection: sqlite3.Connection) -> None:
        """A connection was opened on a file of this disk."""
        self._connections.append(connection)

    def let_go(self) -> None:
        """Close all that the dead process had open, without changing the files."""
        self.dead = True
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def revive(self, *, power_was_cut: bool, rng: Random) -> None:
        """The computer starts again, after its process was killed or its power was cut."""
        self.let_go()
        if power_was_cut:
            paths = {path.stat().st_ino: path for path in self.folder.iterdir()}
            for inode, file in list(self._files.items()):
                if inode in paths:
                    file.lose_power(rng, paths[inode])
            for index in self.folder.glob("*-shm"):
                index.unlink()
        self.dead = False
        self.refuses = OK

    def replace(self, image: dict[str, bytes]) -> None:
        """An old image of the disk is brought back."""
        self.let_go()
        for path in list(self.folder.iterdir()):
            path.unlink()
        self._forget_files()
        for name, content in image.items():
            (self.folder / name).write_bytes(content)
        self.dead = False

    def image(self) -> dict[str, bytes]:
        """What a copy of the running disk would hold, without the index of the WAL, which any opening makes anew."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if not path.name.endswith("-shm")}

    def answer(self) -> int:
        """Count an operation; what it has to answer, 0 for going on."""
        self.operations += 1
        if not self.dead:
            self.on_operation()
        return IOERR if self.dead else self.refuses


def _nothing() -> None:
    """Nobody counts."""


_disks: dict[str, Disk] = {}
_open_files: dict[int, _File] = {}
_kept: list[Any] = []  # what C has pointers to
_patched: dict[int, Any] = {}
_native: dict[str, Any] = {}
connecting: ContextVar[Disk | None] = ContextVar("connecting", default=None)


def _open(vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
    code = int(_native["open"](vfs, name, file, flags, out))
    if code == OK and name is not None and flags & DURABLE_KINDS:
        path = _path(name)
        disk = _disks.get(str(path.parent))
        if disk is not None:
            _open_files[file] = disk.file(path)
            slot = ctypes.cast(file, ctypes.POINTER(ctypes.c_void_p))
            slot[0] = _patch(slot[0])
    return code


def _patch(original: int) -> int:
    """The address of a file's methods, with ours for those that change it."""
    if original not in _patched:
        methods = _Methods.from_buffer_copy(ctypes.string_at(original, ctypes.sizeof(_Methods)))
        methods.version = 2  # without memory-mapped reading
        native = (_WRITE(methods.write), _TRUNCATE(methods.truncate), _SYNC(methods.sync), _CLOSE(methods.close))
        ours = _replacements(*native)
        for name, function in zip(("write", "truncate", "sync", "close"), ours, strict=True):
            setattr(methods, name, ctypes.cast(function, ctypes.c_void_p).value)
        _kept.extend((*native, *ours))
        _patched[original] = methods
        _patched[ctypes.addressof(methods)] = methods
    return ctypes.addressof(_patched[original])


def _replacements(write: Any, truncate: Any, sync: Any, close: Any) -> tuple[Any, Any, Any, Any]:
    def on_write(file: int, data: int, size: int, offset: int) -> int:
        known = _open_files[file]
        code = known.disk.answer()
        if code:
            return FULL if code == FULL else IOERR_WRITE
        known.changes.append(_Change(offset, ctypes.string_at(data, size)))
        return int(write(file, data, size, offset))

    def on_truncate(file: int, size: int) -> int:
        known = _open_files[file]
        if known.disk.answer():
            return IOERR
        known.changes.append(_Change(size, None))
        return int(truncate(file, size))

    def on_sync(file: int, flags: int) -> int:
        known = _open_files[file]
        if known.disk.answer():
            return IOERR_SYNC
        known.sync()
        return OK

    def on_close(file: int) -> int:
        _open_files.pop(file, None)
        return int(close(file))

    return _WRITE(on_write), _TRUNCATE(on_truncate), _SYNC(on_sync), _CLOSE(on_close)


def _path(name: int) -> Path:
    return Path(os.fsdecode(ctypes.string_at(name)))


def _delete(vfs: int, name: int, sync_folder: int) -> int:
    path = _path(name)
    disk = _disks.get(str(path.parent))
    if disk is not None:
        if disk.answer():
            return IOERR
        disk.deleted(path)
    return int(_native["delete"](vfs, name, sync_folder))


def _install() -> None:
    """Make our VFS SQLite's default in this process, once; files outside simulated disks are the system's matter."""
    if _native:
        return
    library = ctypes.CDLL(_sqlite3.__file__)  # whatever SQLite this Python has, linked in or beside it
    library.sqlite3_vfs_find.restype = ctypes.c_void_p
    library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
    library.sqlite3_vfs_register.argtypes = [ctypes.c_void_p, ctypes.c_int]
    system = library.sqlite3_vfs_find(None)
    ours = _Vfs.from_buffer_copy(ctypes.string_at(system, ctypes.sizeof(_Vfs)))
    name = ctypes.create_string_buffer(b"simulated-disk")
    ours.name = ctypes.cast(name, ctypes.c_char_p)
    ours.next = None
    _native["open"] = _OPEN(ours.call_0)
    _native["delete"] = _DELETE(ours.call_1)
    replaced = (_OPEN(_open), _DELETE(_delete))
    ours.call_0, ours.call_1 = (ctypes.cast(each, ctypes.c_void_p).value for each in replaced)
    _kept.extend((ours, name, *replaced))
    library.sqlite3_vfs_register(ctypes.addressof(ours), 1)
    _follow_connections()


def _follow_connections() -> None:
    """Know which connections a computer has open: those of a killed process have to be closed for it."""
    native = sqlite3.connect

    def connect(path: Any, *args: Any, **more: Any) -> sqlite3.Connection:
        connection = native(path, *args, **more)
        disk = connecting.get()
        if disk is not None:
            disk.opened(connection)
        return connection

    sqlite3.connect = connect  # type: ignore[assignment]
