"""Hypothesis strategies for readings and gaps, and a small edge node, for every test that speaks Sparkplug."""

from uuid import UUID

from hypothesis import strategies as st
from lms_protocol.edge import EdgeSession
from lms_protocol.reading import ClockRecord, Datatype, Gap, Quality, Reading, TagDescription

STREAM = UUID("11111111-2222-3333-4444-555555555555")
TAGS = (
    TagDescription(1, "R1", "pH/PV", unit="pH", low=6.0, high=8.0, decimals=2),
    TagDescription(2, "R1", "Sync/Batch", Datatype.UINT64),
    TagDescription(3, "R1", "Sync/Gap", Datatype.STRING),
    TagDescription(4, "R1", "Counter/PV", Datatype.INT64),
    TagDescription(5, "R1", "Pump/Running", Datatype.BOOLEAN, access="write"),
    TagDescription(6, "R1", "Recipe/Step", Datatype.STRING),
    TagDescription(7, "R2", "Sync/Batch", Datatype.UINT64),
    TagDescription(8, "R2", "Sync/Gap", Datatype.STRING),
    TagDescription(9, "R2", "DO/PV", unit="%"),
    TagDescription(10, "R1", "Sync/Clock", Datatype.STRING),
    TagDescription(11, "R1", "Counter/Total", Datatype.UINT64),
)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_VALUES = {
    1: st.floats(width=64),
    4: st.integers(-(1 << 63), (1 << 63) - 1),
    5: st.booleans(),
    6: _TEXT,
    11: st.integers(0, (1 << 64) - 1),
}
_TIMES = st.integers(0, 253_402_300_799_999)


def _readings_of(tag: int) -> st.SearchStrategy[Reading]:
    def quality_of(value: object) -> st.SearchStrategy[Quality]:
        # A null without a quality reads as BAD on the other side: "null but good" is nothing an agent says.
        known = [quality for quality in Quality if value is not None or quality is not Quality.GOOD]
        return st.sampled_from(known)

    return (st.none() | _VALUES[tag]).flatmap(
        lambda value: st.builds(Reading, st.just(tag), _TIMES, st.just(value), quality_of(value))
    )


def readings() -> st.SearchStrategy[Reading]:
    """Any reading of any kind of tag of device R1."""
    return st.sampled_from(sorted(_VALUES)).flatmap(_readings_of)


def gaps() -> st.SearchStrategy[Gap]:
    """Any gap record."""
    return st.builds(
        Gap,
        st.integers(0, (1 << 63) - 1),
        st.lists(st.integers(1, 100), max_size=5).map(tuple),
        _TIMES,
        st.none() | _TIMES,
        _TEXT,
    )


def clocks() -> st.SearchStrategy[ClockRecord | None]:
    """No clock record, or any."""
    numbers = st.integers(-(1 << 63), (1 << 63) - 1)
    return st.none() | st.builds(ClockRecord, st.uuids(), numbers, st.booleans(), st.none() | numbers, numbers)


def new_edge() -> EdgeSession:
    """A session of agent `n` in group `g`, with bioreactors R1 and R2, not yet connected."""
    return EdgeSession(group="g", node="n", stream=STREAM, bd_seq=None, tags=TAGS, primary_host="cloud")
