"""What a set-point command says, and whether it may be carried out."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.commands import (
    CommandEvent,
    Facts,
    Limits,
    Lock,
    LockState,
    Note,
    Refusal,
    Rules,
    SetPoint,
    Source,
    State,
    as_value,
    command_message,
    refusal,
)
from lms_protocol.edge import TagCommand
from lms_protocol.errors import PayloadError
from lms_protocol.reading import Datatype, TagDescription
from lms_protocol.sparkplug import Metric, Payload, decode, encode
from support.sparkplug import new_edge

T = 1_700_000_000_000
COMMAND = SetPoint("c-1", "R1", "pH/SP", 7.1, "ada", "ramp", Source.REMOTE, T, T + 30_000)
LIMITS = Limits(low=6.0, high=8.0)
FACTS = Facts(T + 1_000, present=7.0)
PUMP = TagDescription(5, "R1", "Pump/Running", Datatype.BOOLEAN, access="write")
NOTE = Note("c-1", "ada", "ramp", T + 30_000)


def why(command=COMMAND, limits=LIMITS, facts=FACTS, rules=Rules()):  # noqa: B008 - frozen
    return refusal(command, limits, facts, rules)


def test_sound_command_may_be_carried_out():
    assert why() is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limits": Limits(writable=False)}, "cannot be set"),
        ({"rules": Rules(remote=False)}, "take no commands from hosts"),
        ({"facts": FACTS._replace(lock=Lock("bob", "hands in the vessel", T))}, "locked at the bench by bob: hands in"),
        ({"facts": FACTS._replace(clock_trusted=False)}, "does not know the time"),
        ({"facts": FACTS._replace(now_ms=T - 60_000)}, "60.0 s in the future"),
        ({"command": replace(COMMAND, valid_until_ms=T + 10**9)}, "valid for 600 s at most"),
        ({"command": replace(COMMAND, value=5.99)}, "5.99 is below the lowest that may be set, 6"),
        ({"command": replace(COMMAND, value=8.01)}, "above the highest"),
        ({"command": replace(COMMAND, value=math.nan)}, "no number that can be set"),
        ({"command": replace(COMMAND, value=True)}, "no DOUBLE value"),
        ({"command": replace(COMMAND, value="7")}, "no DOUBLE value"),
        ({"command": replace(COMMAND, value=None)}, "no DOUBLE value"),
        ({"limits": LIMITS._replace(largest_step=0.05)}, "change it by 0.05 at most, from 7"),
        ({"limits": LIMITS._replace(largest_step=0.05), "facts": FACTS._replace(present=None)}, "not known"),
        ({"limits": LIMITS._replace(interval_ms=5_000), "facts": FACTS._replace(last_sent_at_ms=T)}, "1.0 s ago"),
    ],
)
def test_refusal_says_why(changes, words):
    refused = why(**changes)
    assert refused is not None
    assert refused.state is State.REFUSED
    assert words in refused.why


def test_command_is_void_after_its_lifetime():
    assert why(facts=FACTS._replace(now_ms=T + 30_000)) is None
    assert why(facts=FACTS._replace(now_ms=T + 30_001)) == Refusal(State.EXPIRED, "its lifetime was over 0.0 s before")


def test_bench_needs_no_trusted_clock_and_no_lock_keeps_it_out_but_limits_do():
    mine = replace(COMMAND, source=Source.BENCH)
    facts = FACTS._replace(clock_trusted=False, lock=Lock("bob", "cleaning", T))
    assert why(mine, facts=facts, rules=Rules(remote=False)) is None
    assert why(replace(mine, value=9.0), facts=facts) is not None
    expired = why(mine, facts=facts._replace(now_ms=T + 40_000))
    assert expired is not None
    assert expired.state is State.EXPIRED


def test_limit_is_as_exact_as_the_tag():
    single = as_value(37.2, Datatype.FLOAT)
    assert single == 37.20000076293945
    for value in (37.2, single):
        assert why(replace(COMMAND, value=value), Limits(Datatype.FLOAT, low=37.2, high=37.2)) is None


def test_step_allows_for_rounding():
    limits = Limits(Datatype.FLOAT, largest_step=0.1)
    assert why(replace(COMMAND, value=37.3), limits, FACTS._replace(present=as_value(37.2, Datatype.FLOAT))) is None


@pytest.mark.parametrize(
    ("value", "datatype", "expected"),
    [
        (37, Datatype.DOUBLE, 37.0),
        (37.0, Datatype.INT64, 37),
        (True, Datatype.BOOLEAN, True),
        ("N2", Datatype.STRING, "N2"),
        (-1, Datatype.INT64, -1),
    ],
)
def test_value_takes_the_tags_type(value, datatype, expected):
    assert (as_value(value, datatype), type(as_value(value, datatype))) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        (3.5, Datatype.INT64),
        (-1, Datatype.UINT64),
        (1 << 63, Datatype.INT64),
        (1e39, Datatype.FLOAT),
        (10**400, Datatype.DOUBLE),
        (1, Datatype.BOOLEAN),
        (True, Datatype.INT64),
        ("x" * 1001, Datatype.STRING),
        (math.inf, Datatype.DOUBLE),
    ],
)
def test_value_that_the_tag_would_alter_is_refused(value, datatype):
    with pytest.raises(PayloadError):
        as_value(value, datatype)


def test_host_and_agent_mean_the_same_command():
    edge = new_edge()
    for by_name in (False, True):
        message = command_message("g", "n", PUMP, True, note=NOTE, now_ms=T, by_name=by_name)
        assert (message.topic, message.qos, message.retain) == ("spBv1.0/g/DCMD/n/R1", 0, False)
        (event,) = edge.receive(message.topic, message.payload)
        assert isinstance(event, TagCommand)
        assert event.tag is not None
        assert (event.tag.name, event.value, event.timestamp_ms) == ("Pump/Running", True, T)
        assert Note.from_text(event.note) == NOTE


def test_command_for_a_tag_that_is_gone_is_still_told():
    gone = replace(PUMP, number=99, name="Pump/Gone")
    message = command_message("g", "n", gone, True, note=NOTE, now_ms=T)
    (event,) = new_edge().receive(message.topic, message.payload)
    assert isinstance(event, TagCommand)
    assert (event.tag, event.named) == (None, 99)


@pytest.mark.parametrize("tags", [[], [Metric(alias=5, value=True), Metric(alias=5, value=False)]])
def test_note_is_of_one_tag(tags):
    metrics = [*tags, Metric("Sync/Command", datatype=12, value=NOTE.to_text())]
    with pytest.raises(PayloadError, match="of one tag"):
        new_edge().receive("spBv1.0/g/DCMD/n/R1", encode(Payload(T, metrics)))


def test_birth_says_that_commands_are_taken_where_a_tag_can_be_set():
    edge = new_edge()
    edge.takes_commands = True
    names = {metric.name: metric.alias for metric in decode(edge.device_birth("R1", T, {}).payload).metrics}
    assert names["Sync/Command"] is None
    assert edge.under(edge.stream).takes_commands
    edge.takes_commands = False
    assert "Sync/Command" not in {m.name for m in decode(edge.device_birth("R1", T, {}).payload).metrics}


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "x" * 65},
        {"by": " "},
        {"reason": "a\nb"},
        {"reason": 7},
        {"valid_until_ms": 1.5},
        {"by": None},
    ],
)
def test_note_out_of_form_is_refused(changes):
    with pytest.raises(PayloadError, match="Sync/Command"):
        Note.from_text(json.dumps(NOTE._asdict() | changes))


@pytest.mark.parametrize("text", [None, 7, "", "null", "[]", "{}", "[" * 100_000, '{"id":"a","by":"b"}'])
def test_what_is_no_note_is_refused(text):
    with pytest.raises(PayloadError, match="lacks id"):
        Note.from_text(text)


def test_keys_of_a_later_release_mean_nothing():
    assert Note.from_text(json.dumps(NOTE._asdict() | {"colour": "red"})) == NOTE
    event = CommandEvent("c", State.DONE, T, "ada", "ramp", Source.BENCH)
    assert CommandEvent.from_text(json.dumps(json.loads(event.to_text()) | {"colour": "red"})) == event


WORDS = st.text(st.characters(codec="utf-8"), max_size=30)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS


@given(
    WORDS,
    st.sampled_from([*State, *LockState]),
    st.sampled_from(Source),
    VALUES,
    VALUES,
    st.none() | st.integers(0, 10**13),
)
def test_event_is_read_as_it_was_written(words, state, source, value, read_back, at_ms):
    event = CommandEvent("c", state, T, words, words, source, words, value, at_ms, at_ms, words, read_back, words)
    assert repr(CommandEvent.from_text(event.to_text())) == repr(event)


def test_event_with_no_number_is_json():
    event = CommandEvent("c", State.NOT_CONFIRMED, T, "a", "b", Source.BENCH, "t", 1.0, read_back=math.nan)
    assert json.loads(event.to_text(), parse_constant=pytest.fail)["read_back"] == "nan"
    with pytest.raises(PayloadError):
        CommandEvent.from_text("{}")
