"""Read what is readable of a damaged log, without SQLite: page by page, row by row.

SQLite gives up on a page, or on all pages below it, when a byte of the tree is wrong. But each batch lies in one leaf
page (a large one also in overflow pages) and carries its own checksum, so that no path to it is needed, and nothing
that is read is believed unless its checksum fits. The write-ahead log is read in the same way: what SQLite would skip
behind a damaged frame was on the disk, too.

Neighbours: `lms_agent.log.damage.readable` keeps what is found.
Source: "Database File Format", sqlite.org/fileformat2.html, sections 1.3, 1.6, 2.1 and 4.1.
"""

import json
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lms_protocol.reading import TagDescription

from lms_agent.log.checksums import (
    batch_checksum,
    gap_checksum,
    meta_checksum,
    origin_checksum,
    predecessor_checksum,
    row_checksum,
    tag_checksum,
)
from lms_agent.log.damage.spare import CLOCK_KEY, SUMS_KEY, TAGS_KEY, ClockCopy, ClockSums
from lms_agent.log.records import BatchRow, GapRow
from lms_agent.log.renewal.predecessors import State
from lms_agent.log.schema import APPLICATION_ID
from lms_agent.log.tags import from_row
from lms_agent.log.times.clocks import Span
from lms_agent.log.times.corrections import Correction, correction_from_row
from lms_agent.timekeeping.discipline import Trust

MAGIC = b"SQLite format 3\x00"
HEADER_BYTES = 100
USUAL_PAGE_BYTES = 4096
WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
_WAL_MAGIC = 0x377F0682
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_LONGEST_RECORD = 64 * 1024 * 1024


_BASIC_WORDS = (b"acked", b"stream", b'"datatype"', b"clock")
_BASIC_FORMS = re.compile(rb"\[(\d+(, \d+)*)?\]|-\d{8}T\d{6}Z|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The tags of a gap, the name of a log set aside, a stream: most pages hold none of these, and are not gone through."""
_SPARE_KEYS = (TAGS_KEY, CLOCK_KEY, SUMS_KEY)
_FURTHER = (State.TO_READ, State.READY, State.LOST, State.SENT)


class Cell(NamedTuple):
    """One row of a leaf page.

    Attributes:
        sure: whether the page itself says that the row is there; else only its bytes are.
    """

    sure: bool
    rowid: int
    columns: list[Any]


@dataclass(slots=True)
class Basics:
    """What a log says of itself, as far as it is readable.

    Attributes:
        stream: the highest `acked` and the rest of `meta` are taken from rows whose checksum fits.
        gaps: newest row of each, by id.
        predecessors: cells of the row that has come furthest, without the checksum, by path.
        origins: number of the batch that was logged again, by stream and number there.
        clock_copy, clock_sums: the newest second copy of corrections and spans, and the newest sums of both.
        ours: whether anything in the file can only be a log's.
    """

    stream: str | None = None
    acked: int = 0
    metas: dict[str, str] = field(default_factory=dict)
    tags: dict[int, TagDescription] = field(default_factory=dict)
    gaps: dict[int, GapRow] = field(default_factory=dict)
    predecessors: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    origins: dict[tuple[str, int], int] = field(default_factory=dict)
    clock_copy: ClockCopy | None = None
    clock_sums: ClockSums | None = None
    ours: bool = False


def wal_path(path: Path) -> Path:
    """The write-ahead log of a database file."""
    return path.with_name(path.name + "-wal")


class DamagedFile:
    """A damaged log file with its write-ahead log, open for reading page by page; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("rb")
        self._wal: BinaryIO | None = None
        with suppress(FileNotFoundError):
            self._wal = wal_path(path).open("rb")
        self._page_bytes, self._usable = self._sizes()
        self._frames = _frames(self._wal, self._page_bytes)
        self._newest = {frame.page: frame.at for frame in self._frames if frame.valid}
        self._behind = {frame.page: frame.at for frame in self._frames if not frame.valid and frame.same_salt}

    def __enter__(self) -> "DamagedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._wal is not None:
            self._wal.close()

    @property
    def lost_frames(self) -> bool:
        """Whether the write-ahead log goes on behind a damaged frame, with transactions that were on the disk.

        One transaction there may be what a power cut left half written; nobody was told that it was kept. A second one
        is not begun before the first is safe.
        """
        return sum(frame.commits for frame in self._frames if not frame.valid and frame.same_salt) > 1

    def basics(self) -> Basics:
        """Stream, acknowledged number, tags, gaps, and what is known of logs that were set aside before."""
        found = Basics()
        self._file.seek(0)
        header = self._file.read(HEADER_BYTES)
        found.ours = header[68:72] == APPLICATION_ID.to_bytes(4, "big") and header[:16] == MAGIC
        for _, page in self._pages():
            if any(word in page for word in _BASIC_WORDS) or _BASIC_FORMS.search(page):
                for cell in self._cells(page):
                    _note(found, cell)
                    _note_older(found, cell)
        for row in json.loads(found.metas.get(TAGS_KEY, "[]")):
            found.tags.setdefault(row[0], from_row(row))
        return found

    def is_ours(self) -> bool:
        """Whether anything in it can only be a log's."""
        return self.basics().ours or next(self.batches(0), None) is not None

    def batches(self, above: int) -> Iterator[tuple[bool, BatchRow]]:
        """Rows of `batches` above number `above` whose checksum fits; True with those that outdo any other of the same
        number."""
        for sure, page in self._pages():
            for cell in self._cells(page, behind=not sure):
                row = _batch_row(cell)
                if row is not None and row[0] > above:
                    yield sure and cell.sure, row

    def corrections(self) -> list[Correction]:
        """Rows of `corrections` whose checksum fits, in order."""
        found: dict[int, Correction] = {}
        for _, page in self._pages():
            for cell in self._cells(page):
                row = _correction(cell)
                if row is not None:
                    found[cell.rowid] = row
        return [row for _, row in sorted(found.items())]

    def spans(self) -> list[Span]:
        """Rows of `spans`, as far as they can be told from others, in order."""
        found: dict[int, Span] = {}
        for _, page in self._pages():
            for cell in self._cells(page):
                row = _span(cell)
                if row is not None and (cell.sure or row.first not in found):
                    found[row.first] = row
        return [row for _, row in sorted(found.items())]

    def gaps(self) -> Iterator[GapRow]:
        """Rows of `gaps` whose checksum fits."""
        for _, page in self._pages():
            if b"[" in page:
                for cell in self._cells(page):
                    row = _gap_row(cell)
                    if row is not None:
                        yield row

    def _sizes(self) -> tuple[int, int]:
        header = self._file.read(HEADER_BYTES)
        stated = int.from_bytes(header[16:18], "big")
        stated = 65536 if stated == 1 else stated
        if header[:16] == MAGIC and stated >= 512 and stated & (stated - 1) == 0:
            return stated, stated - min(header[20], 32)
        return USUAL_PAGE_BYTES, USUAL_PAGE_BYTES

    def _pages(self) -> Iterator[tuple[bool, bytes]]:
        """All pages; False with those of the write-ahead log that SQLite would not take any more."""
        self._file.seek(0)
        while page := self._file.read(self._page_bytes):
            if len(page) == self._page_bytes:
                yield True, page
        for frame in sorted(self._frames, key=lambda frame: frame.valid):
            yield frame.valid, self._frame(frame.at)

    def _frame(self, at: int) -> bytes:
        assert self._wal is not None  # noqa: S101 - a frame was found in it
        self._wal.seek(at)
        return self._wal.read(self._page_bytes)

    def _cells(self, page: bytes, *, behind: bool = False) -> Iterator[Cell]:
        """The rows that a page has if it is a leaf of a table, whatever its own header says.

        Args:
            behind: whether the page stands behind damage of the write-ahead log: then its overflow pages may, too.
        """
        start = HEADER_BYTES if page[:16] == MAGIC else 0
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        for index in range((self._usable - start - 8) // 2):
            at = int.from_bytes(page[start + 8 + 2 * index : start + 10 + 2 * index], "big")
            if not start + 8 < at < self._usable:
                return
            try:
                rowid, columns = self._cell(page, at, behind)
            except (IndexError, ValueError, struct.error):
                continue
            yield Cell(index < count, rowid, columns)

    def _cell(self, page: bytes, at: int, behind: bool) -> tuple[int, list[Any]]:
        size, at = _varint(page, at)
        rowid, at = _varint(page, at)
        if not 2 < size < _LONGEST_RECORD:
            raise ValueError(size)
        return _signed(rowid), _columns(self._payload(page, at, size, behind))

    def _payload(self, page: bytes, at: int, size: int, behind: bool) -> bytes:
        usable = self._usable
        if size <= usable - 35:
            return _exactly(page[at : at + size], size)
        least = (usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (usable - 4)
        local = local if local <= usable - 35 else least
        parts = [_exactly(page[at : at + local], local)]
        next_ = int.from_bytes(page[at + local : at + local + 4], "big")
        left = size - local
        while left > 0:
            overflow = self._page(next_, behind)
            parts.append(overflow[4 : 4 + min(left, usable - 4)])
            left -= usable - 4
            next_ = int.from_bytes(overflow[:4], "big")
        return b"".join(parts)

    def _page(self, number: int, behind: bool) -> bytes:
        if behind and number in self._behind:
            return self._frame(self._behind[number])
        if number in self._newest:
            return self._frame(self._newest[number])
        if number < 1:
            raise ValueError(number)
        place = self._file.tell()
        self._file.seek((number - 1) * self._page_bytes)
        page = self._file.read(self._page_bytes)
        self._file.seek(place)
        return _exactly(page, self._page_bytes)


class _Frame(NamedTuple):
    """A frame of the write-ahead log: which page, where its bytes are, whether SQLite would take it."""

    page: int
    at: int
    commits: bool
    valid: bool
    same_salt: bool


def _frames(wal: BinaryIO | None, page_bytes: int) -> list[_Frame]:
    if wal is None:
        return []
    header = wal.read(WAL_HEADER_BYTES)
    if len(header) < WAL_HEADER_BYTES:
        return []
    salt, chain, sums, order = _wal_start(header, wal.read(FRAME_HEADER_BYTES + page_bytes))
    wal.seek(WAL_HEADER_BYTES)
    frames: list[_Frame] = []
    committed = 0
    at = WAL_HEADER_BYTES
    while len(data := wal.read(FRAME_HEADER_BYTES + page_bytes)) == FRAME_HEADER_BYTES + page_bytes:
        page, pages_after = struct.unpack(">2I", data[:8])
        same_salt = data[8:16] == salt
        if chain and same_salt:
            sums = _wal_sums(data[FRAME_HEADER_BYTES:], _wal_sums(data[:8], sums, order), order)
            chain = sums == struct.unpack(">2I", data[16:24])
        else:
            chain = False
        frames.append(_Frame(page, at + FRAME_HEADER_BYTES, pages_after > 0, chain, same_salt))
        if chain and pages_after:
            committed = len(frames)
        at += len(data)
    return [frame._replace(valid=frame.valid and index < committed) for index, frame in enumerate(frames)]


def wal_salt(header: bytes, first_frame: bytes) -> bytes:
    """What the frames that belong to a write-ahead log carry, even if its header is damaged.

    SQLite takes nothing behind a damaged header, and writes over it. The newest frames are the first ones in the file.
    """
    return header[16:24] if _is_header_sound(header) else first_frame[8:16]


def _is_header_sound(header: bytes) -> bool:
    magic = int.from_bytes(header[:4], "big")
    sums = _wal_sums(header[:24], (0, 0), _order(magic))
    return magic & ~1 == _WAL_MAGIC and sums == struct.unpack(">2I", header[24:])


def _wal_start(header: bytes, first_frame: bytes) -> tuple[bytes, bool, tuple[int, int], str]:
    """Where the chain of checksums begins: salt, whether there is a chain, its first sums, and its byte order.

    Of a damaged header either the sums are right or what they are of is: the first frame fits one of the two.
    """
    salt, order = wal_salt(header, first_frame), _order(int.from_bytes(header[:4], "big"))
    stored: tuple[int, int] = struct.unpack(">2I", header[24:])
    if _is_header_sound(header):
        return salt, True, stored, order
    for order in "<>":
        for sums in (stored, _wal_sums(header[:24], (0, 0), order)):
            body = first_frame[:8], first_frame[FRAME_HEADER_BYTES:]
            if len(body[1]) % 8 == 0 and first_frame[16:24] == struct.pack(
                ">2I", *_wal_sums(body[1], _wal_sums(body[0], sums, order), order)
            ):
                return salt, True, sums, order
    return salt, False, stored, order


def _order(magic: int) -> str:
    return ">" if magic & 1 else "<"


def _wal_sums(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    """The checksum of section 4.2, which is a sum modulo 2^32 of 32-bit words."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _note(found: Basics, cell: Cell) -> None:
    columns = cell.columns
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        if len(columns) in {2, 3} and columns[0] in {"stream", "acked", "bd_seq", "gap_id", "latest", *_SPARE_KEYS}:
            key, value = columns[0], columns[1]
            if len(columns) == 3 and columns[2] != meta_checksum(key, value):
                return
            if cell.sure or key not in found.metas:
                found.metas[key] = value
            if key == "stream":
                found.stream, found.ours = found.metas[key], True
            elif key == "acked":
                found.acked = max(found.acked, int(value))  # whatever was once acknowledged is
            elif key == CLOCK_KEY:
                copy = ClockCopy(*json.loads(value))
                if found.clock_copy is None or copy.serial >= found.clock_copy.serial:
                    found.clock_copy = copy
            elif key == SUMS_KEY:
                sums = ClockSums(*json.loads(value))
                if found.clock_sums is None or sums.serial >= found.clock_sums.serial:
                    found.clock_sums = sums
        elif len(columns) in {4, 5} and columns[0] is None:
            cells = (cell.rowid, columns[1], columns[2], columns[3])
            fits = len(columns) == 4 or columns[4] == tag_checksum(*cells)
            if fits and "datatype" in json.loads(columns[3]):
                tag = from_row(cells)
                if cell.sure or tag.number not in found.tags:
                    found.tags[tag.number] = tag


def _note_older(found: Basics, cell: Cell) -> None:
    """A gap, or what is known of a log that was set aside before this one."""
    gap, columns = _gap_row(cell), cell.columns
    if gap is not None:
        known = found.gaps.get(gap[0])
        if known is None or (cell.sure and known[5] is None) or gap[5] is not None:
            found.gaps[gap[0]] = gap
    with suppress(ValueError, TypeError):
        if len(columns) == 10 and columns[9] == predecessor_checksum(columns[:9]):
            row = tuple(columns[:9])
            if row[0] not in found.predecessors or _how_far(row) >= _how_far(found.predecessors[row[0]]):
                found.predecessors[row[0]] = row
        elif len(columns) == 4 and columns[3] == origin_checksum(columns[0], columns[1]):
            found.origins[columns[0], columns[1]] = columns[2]


def _how_far(predecessor: tuple[Any, ...]) -> tuple[int, int]:
    return _FURTHER.index(State(predecessor[3])), predecessor[6] or 0


def _batch_row(cell: Cell) -> BatchRow | None:
    columns = cell.columns
    if len(columns) < 8 or columns[0] is not None or type(columns[1]) is not str or type(columns[7]) is not bytes:
        return None
    device, first, last, readings, total, checksum, record = columns[1:8]
    if batch_checksum(cell.rowid, device, record) != checksum:
        return None
    return (cell.rowid, device, first, last, readings, total, checksum, record)


def _gap_row(cell: Cell) -> GapRow | None:
    columns = cell.columns
    if len(columns) != 8 or columns[0] is not None or type(columns[3]) is not str or type(columns[7]) is not int:
        return None
    row = (cell.rowid, *columns[1:7])
    return (*row, columns[7]) if gap_checksum(row) == columns[7] else None


def _correction(cell: Cell) -> Correction | None:
    columns = cell.columns
    if len(columns) != 11 or columns[0] is not None or type(columns[10]) is not int:
        return None
    return correction_from_row(columns[1:10]) if row_checksum(columns[1:10]) == columns[10] else None


def _span(cell: Cell) -> Span | None:
    columns = cell.columns
    if len(columns) not in {8, 9} or columns[0] is not None or columns[5] not in set(Trust):
        return None
    last, boot, began_ms, offset_ms, trust, error_ms, is_open = columns[1:8]
    if len(columns) == 9 and row_checksum((cell.rowid, *columns[1:8])) != columns[8]:
        return None
    return Span(cell.rowid, last, boot, began_ms, offset_ms, trust, error_ms, bool(is_open))


def _columns(payload: bytes) -> list[Any]:
    size, at = _varint(payload, 0)
    if size > len(payload):
        raise ValueError(size)
    columns: list[Any] = []
    body = size
    while at < size:
        kind, at = _varint(payload, at)
        value, length = _value(payload, body, kind)
        columns.append(value)
        body += length
    return columns


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, 0
    if kind in _INTEGERS:
        length = _INTEGERS[kind]
        return int.from_bytes(_exactly(payload[at : at + length], length), "big", signed=True), length
    if kind == 7:
        return struct.unpack(">d", payload[at : at + 8])[0], 8
    if kind in {8, 9}:
        return kind - 8, 0
    if kind < 12:
        raise ValueError(kind)
    length = (kind - 12) // 2
    data = _exactly(payload[at : at + length], length)
    return (data.decode() if kind & 1 else data), length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(size)
    return data
