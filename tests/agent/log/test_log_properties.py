"""The log as a state machine on real files: whatever is appended, closed and opened again, nothing is lost."""

import asyncio
import math
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Batch, Gap, Quality, Reading

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
)
READINGS = st.builds(
    Reading, st.integers(1, 40), st.integers(0, 2**41), VALUES, st.sampled_from([Quality.GOOD, Quality.BAD])
).map(lambda reading: reading._replace(quality=Quality.BAD) if reading.value is None else reading)
GAPS = st.builds(
    Gap,
    st.integers(1, 5),
    st.lists(st.integers(1, 40), max_size=4).map(tuple),
    st.integers(0, 2**41),
    st.one_of(st.none(), st.integers(0, 2**41)),
    st.text(max_size=20),
)
ENTRIES = st.tuples(
    st.sampled_from(["R1", "R2"]), st.lists(READINGS, max_size=6).map(tuple), st.lists(GAPS, max_size=2).map(tuple)
)


class LogMachine(RuleBasedStateMachine):
    """A log beside a plain list of what must be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "log.sqlite3"
        self.runner = asyncio.Runner()
        self.model: list[Batch] = []
        self.acked = 0

    @initialize()
    def open(self) -> None:
        self.log = SqliteLog.open(self.path)
        self.stream = self.log.stream

    @rule(entries=st.lists(ENTRIES, min_size=1, max_size=5))
    def append_at_the_same_time(self, entries: list[tuple[str, tuple[Reading, ...], tuple[Gap, ...]]]) -> None:
        async def append() -> list[Batch]:
            return await asyncio.gather(*(self.log.append(*entry) for entry in entries))

        batches = self.runner.run(append())
        for batch, (device, readings, gaps) in zip(batches, entries, strict=True):
            assert batch == Batch(len(self.model) + 1, device, readings, gaps)
            self.model.append(batch)

    @rule(number=st.integers(0, 60))
    def acknowledge(self, number: int) -> None:
        self.log.acknowledge(number)
        self.acked = max(self.acked, min(number, len(self.model)))

    @rule()
    def close_and_open(self) -> None:
        self.log.close()
        self.log = SqliteLog.open(self.path)

    @invariant()
    def holds_what_was_appended(self) -> None:
        if not hasattr(self, "log"):
            return
        assert self.log.read(1, 1000) == self.model
        assert self.log.head == len(self.model)
        assert self.log.acked == self.acked
        assert self.log.stream == self.stream

    @invariant()
    def knows_the_newest_reading_of_each_tag(self) -> None:
        if not hasattr(self, "log"):
            return
        newest: dict[int, Reading] = {}
        for batch in self.model:
            for reading in batch.readings:
                if reading.tag not in newest or reading.taken_at_ms >= newest[reading.tag].taken_at_ms:
                    newest[reading.tag] = reading
        assert self.log.latest() == newest

    @invariant()
    def knows_the_gaps_that_are_open(self) -> None:
        if not hasattr(self, "log"):
            return
        last = {gap.id: (batch.device, gap) for batch in self.model for gap in batch.gaps}
        assert self.log.open_gaps() == [last[id_] for id_ in sorted(last) if last[id_][1].ended_at_ms is None]

    def teardown(self) -> None:
        self.log.close()
        self.runner.close()
        self.folder.cleanup()


LogMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestLog = LogMachine.TestCase


async def test_log_keeps_values_bit_by_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, 2**63 - 1, True, "ÅΩ 😀"]
    readings = [Reading(number, 1, value) for number, value in enumerate(values, 1)]
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        await log.append("R1", readings)
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        kept = [reading.value for reading in log.get(1).readings]
    assert [repr(value) for value in kept] == [repr(value) for value in values]
