"""Any instrument whose values lie in Modbus registers or bits: blocks in, readings out.

Between a `ModbusMaster`, which gives the sound reply to each block, and sampling. What can be worked out beforehand
(requests, their check sums, how each value is unpacked) is, so that a scan of 50 tags costs well under a millisecond.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from lms_protocol.instruments.calibration import Step
from lms_protocol.instruments.registers import RegisterWord, UnitCode
from lms_protocol.reading import Quality, Reading, Value

from lms_agent.buses.modbus import ModbusMaster, Reply
from lms_agent.buses.modbus_frames import BIT_FUNCTIONS, FUNCTIONS, ReadRequest, WriteRequest
from lms_agent.buses.wire_time import WireTime
from lms_agent.drivers.block_planning import Block, Span, plan_blocks, span_of, spans_of
from lms_agent.drivers.driver import Failure, Go, Outcome, Written, always, quality_of
from lms_agent.drivers.register_coding import Reader, ValueRangeError, bit_reader, encode, pack, reader_of, word_reader
from lms_agent.drivers.status_words import StatusJudge, Verdict, unit_named
from lms_agent.errors import (
    InstrumentError,
    NotWritable,
    PortError,
    ReplyOutOfStep,
    ReplyTimeout,
    ValueDisowned,
)
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint

_NOTHING_SAID = Verdict(Quality.GOOD, "")


class _Field(NamedTuple):
    tag: int
    read: Reader
    at: int  # byte, or bit, of the reply's data
    minimum: float | None
    maximum: float | None


class _Word(NamedTuple):
    block: int  # its position among the blocks
    read: Callable[[bytes, int], int]
    at: int


class _Judged(NamedTuple):
    """A point whose value is worth what the words beside it say."""

    point: RegisterPoint
    value: _Field
    block: int
    status: tuple[_Word, StatusJudge] | None
    unit_code: tuple[_Word, UnitCode] | None

    @property
    def blocks(self) -> Iterator[int]:
        yield self.block
        for words in (self.status, self.unit_code):
            if words is not None:
                yield words[0].block


class _PlannedBlock(NamedTuple):
    request: ReadRequest
    fields: tuple[_Field, ...]  # those that no word judges


class ModbusRegisters:
    """Reads the points of one instrument, and writes those that can be written.

    Args:
        instrument: unit, points and limits.
        master: of the line that the instrument hangs on.
        numbers: tag numbers, one per point, in the order of `instrument.points`.
    """

    def __init__(self, instrument: ModbusInstrument, master: ModbusMaster, numbers: Sequence[int]) -> None:
        self._master = master
        self._instrument = instrument
        self._blocks, self._judged = _planned(instrument, numbers, master.wire_time)

    async def read(self) -> Outcome:
        """Read all blocks. A silent unit is not asked for the rest; a refused block does not hide the others."""
        readings: list[Reading] = []
        replies: dict[int, Reply] = {}
        errors: dict[int, InstrumentError] = {}
        for position, block in enumerate(self._blocks):
            try:
                reply = replies[position] = await self._master.read(block.request)
            except (PortError, ReplyTimeout, ReplyOutOfStep) as error:
                errors.update(dict.fromkeys(range(position, len(self._blocks)), error))
                break
            except InstrumentError as error:
                errors[position] = error
                continue
            data, arrived_ms = reply
            for tag, read, at, minimum, maximum in block.fields:
                value = read(data, at)
                readings.append(Reading(tag, arrived_ms, value, quality_of(value, minimum, maximum)))
        failures = self._failures(errors) if errors else []
        remarks: dict[int, str] = {}
        for judged in self._judged:
            if not errors or all(block in replies for block in judged.blocks):
                self._judge(judged, replies, Outcome(readings, failures, remarks))
        return Outcome(readings, failures, remarks)

    def _failures(self, errors: dict[int, InstrumentError]) -> list[Failure]:
        """What could not be read for want of which blocks; a judged value for want of any of its own."""
        tags: dict[int, list[int]] = {}
        for position, error in errors.items():
            tags.setdefault(id(error), []).extend(field.tag for field in self._blocks[position].fields)
        for judged in self._judged:
            missing = [block for block in judged.blocks if block in errors]
            if missing:
                tags[id(errors[min(missing)])].append(judged.value.tag)
        by_id = {id(error): error for error in errors.values()}
        return [Failure(tuple(concerned), by_id[which]) for which, concerned in tags.items() if concerned]

    def _judge(self, judged: _Judged, replies: dict[int, Reply], outcome: Outcome) -> None:
        """Take one value for what the words beside it say it is worth, into `outcome`."""
        point, (tag, read, at, minimum, maximum) = judged.point, judged.value
        if judged.unit_code is not None:
            word, meaning = judged.unit_code
            code = word.read(replies[word.block].data, word.at)
            if code != meaning.expected:
                self._disown(tag, point, _another_unit(code, meaning), outcome)
                return
        verdict = _NOTHING_SAID
        if judged.status is not None:
            word, judge = judged.status
            verdict = judge.judge(word.read(replies[word.block].data, word.at))
            if verdict.quality is Quality.BAD:
                self._disown(tag, point, verdict.words, outcome)
                return
        data, arrived_ms = replies[judged.block]
        value = read(data, at)
        outcome.readings.append(
            Reading(tag, arrived_ms, value, min(verdict.quality, quality_of(value, minimum, maximum)))
        )
        if verdict.words:
            outcome.remarks[tag] = verdict.words

    def _disown(self, tag: int, point: RegisterPoint, reason: str, outcome: Outcome) -> None:
        error = ValueDisowned(self._master.port, self._instrument.unit, point.tag, reason)
        outcome.failures.append(Failure((tag,), error))

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Write one point and read it back in the same turn; see `Driver.write`."""
        point = self._instrument.points[index]
        request, sent = self._write_request(point, value)
        if point.unit_code is not None:
            await self._check_unit(point, point.unit_code)
        function = FUNCTIONS[point.register_]
        read_back = ReadRequest(self._instrument.unit, function, point.address, point.width)
        confirmation = await self._master.write(request, read_back=read_back, go=go)
        held: Value = None
        if confirmation.read_back is not None:
            read = bit_reader if function in BIT_FUNCTIONS else reader_of(point)
            held = read(confirmation.read_back.data, 0)
        return Written(
            confirmation.confirmed, sent, held, "" if confirmation.doubt is None else str(confirmation.doubt)
        )

    async def tell(self, step: Step, reference: float, go: Go = always) -> Written:
        """Write the registers of one step; see `Driver.tell`."""
        write, port = step.write, self._master.port
        if write is None:
            raise NotWritable(port, "the calibration", f"{step.command!r} is no register to write")
        numbers = [reference if number == "reference" else number for number in write.values]
        try:
            data = b"".join(pack(number, write) for number in numbers)
            request = WriteRequest.registers(self._instrument.unit, write.address, data)
        except (ValueRangeError, ValueError) as error:
            raise NotWritable(port, "the calibration", str(error)) from error
        confirmation = await self._master.write(request, go=go)
        return Written(
            confirmation.confirmed, reference, doubt="" if confirmation.doubt is None else str(confirmation.doubt)
        )

    async def _check_unit(self, point: RegisterPoint, unit_code: UnitCode) -> None:
        """Refuse to write a number that the instrument would take for one in another unit."""
        span = span_of(unit_code)
        request = ReadRequest(self._instrument.unit, span.function, span.address, span.count)
        reply = await self._master.read(request, urgent=True)
        code = word_reader(unit_code)(reply.data, 0)
        if code != unit_code.expected:
            reason = _another_unit(code, unit_code)
            raise ValueDisowned(self._master.port, self._instrument.unit, point.tag, reason)

    def _write_request(self, point: RegisterPoint, value: Value) -> tuple[WriteRequest, Value]:
        """The request, and the value as the registers hold it."""
        unit, address = self._instrument.unit, point.address
        single = self._instrument.single_writes and point.width == 1
        if point.access != "write":
            raise NotWritable(self._master.port, point.tag, 'its settings do not say access = "write"')
        if point.register_ == "coil" and isinstance(value, bool):
            return WriteRequest.coils(unit, address, [value], single=single), value
        if point.register_ == "holding" and isinstance(value, int | float) and not isinstance(value, bool):
            try:
                data = encode(value, point)
                return WriteRequest.registers(unit, address, data, single=single), reader_of(point)(data, 0)
            except ValueRangeError as error:
                raise NotWritable(self._master.port, point.tag, str(error)) from error
        raise NotWritable(self._master.port, point.tag, f"{value!r} is nothing for a {point.register_} of {point.kind}")


def _another_unit(code: int, unit_code: UnitCode) -> str:
    expected = unit_named(unit_code.expected, unit_code)
    remedy = "set the instrument back, or change what is configured"
    return f"it is in {unit_named(code, unit_code)}, not in {expected}; {remedy}"


def _planned(
    instrument: ModbusInstrument, numbers: Sequence[int], wire: WireTime
) -> tuple[tuple[_PlannedBlock, ...], tuple[_Judged, ...]]:
    """The requests with what is taken out of each, and the points for which words must be looked at, too."""
    blocks = plan_blocks(instrument, wire)
    fields: list[list[_Field]] = [[] for _ in blocks]
    judged = []
    for index, (number, point) in enumerate(zip(numbers, instrument.points, strict=True)):
        value, *_ = spans_of(point)
        position = _block_with(blocks, index, value)
        offset = value.address - blocks[position].address
        if point.in_bits:
            field = _Field(number, bit_reader, offset, None, None)
        else:
            field = _Field(number, reader_of(point), 2 * offset, point.minimum, point.maximum)
        if point.status is None and point.unit_code is None:
            fields[position].append(field)
            continue
        status = None if point.status is None else (_word(blocks, index, point.status), StatusJudge(point.status))
        unit_code = None if point.unit_code is None else (_word(blocks, index, point.unit_code), point.unit_code)
        judged.append(_Judged(point, field, position, status, unit_code))
    return tuple(
        _PlannedBlock(ReadRequest(instrument.unit, block.function, block.address, block.count), tuple(mine))
        for block, mine in zip(blocks, fields, strict=True)
    ), tuple(judged)


def _word(blocks: Sequence[Block], index: int, word: RegisterWord) -> _Word:
    span = span_of(word)
    position = _block_with(blocks, index, span)
    return _Word(position, word_reader(word), 2 * (span.address - blocks[position].address))


def _block_with(blocks: Sequence[Block], index: int, span: Span) -> int:
    """The position of the block in which something of a point lies."""
    return next(at for at, block in enumerate(blocks) if index in block.points and block.holds(span))
