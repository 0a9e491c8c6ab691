"""Edge node and host understand each other, in order, out of order, and when something is missing."""

import random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lms_protocol.batches import digest, record_encode, record_fingerprint
from lms_protocol.delivery import digest_of_run
from lms_protocol.edge import Acknowledged, EdgeSession, RebirthRequested, Refused, TagCommand
from lms_protocol.errors import PayloadError, SessionError
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, DeviceBorn, DeviceDied, Malformed, NodeBorn, NodeDied, RebirthWanted
from lms_protocol.marks import marked_alias
from lms_protocol.messages import SYNC_TAGS, HostState, Publish
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, ClockRecord, Datatype, Gap, Quality, Reading, TagDescription
from lms_protocol.sparkplug import Metric, Payload, decode, encode
from lms_protocol.topics import MessageType, node_topic
from support.sparkplug import STREAM, TAGS, clocks, gaps, new_edge, readings

R1_BATCH = marked_alias(STREAM, 2)


def born_pair() -> tuple[EdgeSession, HostSession]:
    """An edge node and a host that has heard its births."""
    edge, host = new_edge(), HostSession("cloud")
    edge.will(1_000)
    for message in edge.births(1_001, {}, 0):
        host.receive(message.topic, message.payload, 0.0)
    return edge, host


def hear(host: HostSession, message: Publish, now_s: float = 1.0) -> list[object]:
    return list(host.receive(message.topic, message.payload, now_s))


def batch(number: int, value: float = 7.0) -> Batch:
    return Batch(number, "R1", (Reading(1, 1_000 + number, value),))


def test_births_describe_every_tag_and_leave_out_what_belongs_to_the_session() -> None:
    edge, host = new_edge(), HostSession("cloud")
    edge.will(1_000)
    latest = {1: Reading(1, 990, 7.01), 4: Reading(4, 991, None, Quality.BAD)}
    events = [event for message in edge.births(1_001, latest, 41) for event in hear(host, message)]
    assert isinstance(events[0], NodeBorn)
    assert events[0]._replace(metrics=()) == NodeBorn("g", "n", STREAM, 41, 0, 1_001, (), ())
    assert isinstance(events[1], DeviceBorn)
    assert events[1].tags[0] == TagDescription(1, "R1", "pH/PV", unit="pH", low=6.0, high=8.0, decimals=2)
    assert [tag.name for tag in events[1].tags] == [
        "pH/PV",
        "Counter/PV",
        "Pump/Running",
        "Recipe/Step",
        "Counter/Total",
    ]
    assert events[1].tags[2].access == "write"
    assert events[1].readings[:2] == (Reading(1, 990, 7.01), Reading(4, 991, None, Quality.BAD))
    assert events[1].readings[2].quality is Quality.STALE
    assert isinstance(events[2], DeviceBorn)
    assert events[2].device == "R2"


def test_births_have_rising_seq_and_the_wills_bd_seq() -> None:
    edge = new_edge()
    will = decode(edge.will(1_000).payload)
    births = [decode(message.payload) for message in edge.births(1_001, {}, 0)]
    assert [birth.seq for birth in births] == [0, 1, 2]
    assert will.metrics[0].value == births[0].metrics[0].value == 0
    again = [decode(message.payload) for message in edge.births(1_002, {}, 0)]
    assert [birth.seq for birth in again] == [0, 1, 2]
    assert again[0].metrics[0].value == 0, "a rebirth keeps its session's bdSeq"


def test_bd_seq_rises_with_each_connect_and_wraps_after_255() -> None:
    edge = new_edge()
    seen = []
    for _ in range(258):
        edge.will(0)
        seen.append(edge.bd_seq)
    assert seen == [*range(256), 0, 1]


def test_seq_wraps_from_255_to_0_without_a_rebirth() -> None:
    edge, host = born_pair()
    seqs = []
    for number in range(1, 600):
        message = edge.data(batch(number), 2_000)
        seqs.append(decode(message.payload).seq)
        assert [type(event) for event in hear(host, message)] == [DataReceived]
    assert seqs == [(3 + i) % 256 for i in range(599)]
    assert host.poll(1_000.0) == []


@given(st.lists(readings(), max_size=8), st.lists(gaps(), max_size=2), clocks(), st.booleans())
def test_batch_arrives_as_it_was_sent(
    sent: list[Reading], some_gaps: list[Gap], clock: ClockRecord | None, historical: bool
) -> None:
    edge, host = born_pair()
    message = edge.data(Batch(5, "R1", tuple(sent), tuple(some_gaps), clock), 2_000, historical=historical)
    (got,) = hear(host, message)
    assert isinstance(got, DataReceived)
    assert (got.stream, got.number, got.device, got.historical) == (STREAM, 5, "R1", historical)
    assert repr(got.readings) == repr(tuple(sent))
    assert got.gaps == tuple(some_gaps)
    assert got.clock == clock
    assert got.digest == digest("R1", 5, sent, some_gaps, clock)


def test_device_without_clock_tag_sends_all_but_clock_records() -> None:
    tags = [tag for tag in TAGS if tag.name != "Sync/Clock"]
    edge, host = EdgeSession(group="g", node="n", stream=STREAM, bd_seq=None, tags=tags), HostSession("cloud")
    edge.will(1_000)
    for message in edge.births(1_001, {}, 0):
        host.receive(message.topic, message.payload, 0.0)
    (got,) = hear(host, edge.data(batch(5), 2_000))
    assert isinstance(got, DataReceived)
    assert got.clock is None
    with pytest.raises(SessionError, match="no tag for it"):
        edge.data(Batch(6, "R1", (), (), ClockRecord(STREAM, 5, trusted=True)), 2_000)


@pytest.mark.parametrize(
    ("tag", "value"), [(1, "text"), (1, (1 << 53) + 1), (4, 1.5), (4, 1 << 63), (5, 0.25), (6, 7), (6, True)]
)
def test_value_logged_under_another_type_arrives_whole(tag: int, value: object) -> None:
    edge, host = born_pair()
    sent = (Reading(tag, 5, value),)  # type: ignore[arg-type]
    (got,) = hear(host, edge.data(Batch(1, "R1", sent), 2_000))
    assert isinstance(got, DataReceived)
    assert repr(got.readings) == repr(sent)


@pytest.mark.parametrize(("kind", "value"), [(Datatype.INT64, 5), (Datatype.BOOLEAN, True), (Datatype.FLOAT, 7.5)])
@pytest.mark.parametrize("later", list(Datatype))
def test_batch_sent_again_after_its_tag_got_another_type_has_the_same_digest(
    kind: Datatype, value: float, later: Datatype
) -> None:
    """Its acknowledgement was lost, the agent restarted with new settings: the cloud must take it as the same batch."""
    digests = []
    for datatype in (kind, later):
        tags = [TagDescription(1, "R1", "pH/PV", datatype)]
        tags += [TagDescription(n, "R1", name, type_) for n, (name, type_) in enumerate(SYNC_TAGS.items(), 90)]
        edge = EdgeSession(group="g", node="n", stream=STREAM, bd_seq=None, tags=tags)
        host = HostSession("cloud")
        edge.will(1_000)
        for message in edge.births(1_001, {}, 0):
            host.receive(message.topic, message.payload, 0.0)
        (event,) = hear(host, edge.data(Batch(1, "R1", (Reading(1, 1_000, value),)), 1_002))
        assert isinstance(event, DataReceived)
        assert type(event.readings[0].value) is type(value)
        digests.append(event.digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("value", ["seven", True, 7.5, 1 << 63, -5])
@pytest.mark.parametrize("datatype", list(Datatype))
def test_last_value_of_another_type_does_not_keep_the_births_from_being_published(
    datatype: Datatype, value: object
) -> None:
    tags = [TagDescription(1, "R1", "pH/PV", datatype)]
    tags += [TagDescription(n, "R1", name, type_) for n, (name, type_) in enumerate(SYNC_TAGS.items(), 90)]
    edge = EdgeSession(group="g", node="n", stream=STREAM, bd_seq=None, tags=tags)
    edge.will(1_000)
    host = HostSession("cloud")
    events = [e for m in edge.births(1_001, {1: Reading(1, 990, value)}, 0) for e in hear(host, m)]  # type: ignore[arg-type]
    assert [type(event) for event in events] == [NodeBorn, DeviceBorn]


def test_live_and_historical_copy_of_a_batch_have_one_digest() -> None:
    edge, host = born_pair()
    copies = [hear(host, edge.data(batch(5), 2_000 + i, historical=bool(i)))[0] for i in range(2)]
    assert copies[0].digest == copies[1].digest  # type: ignore[attr-defined]
    other = hear(host, edge.data(batch(5, 7.000000001), 2_000))[0]
    assert other.digest != copies[0].digest  # type: ignore[attr-defined]


def test_data_before_birth_asks_for_one_rebirth_within_its_interval() -> None:
    edge = new_edge()
    edge.will(0)
    edge.births(1, {}, 0)
    host = HostSession("cloud", rebirth_interval_s=10.0)
    first = hear(host, edge.data(batch(1), 2), now_s=0.0)
    assert [type(event) for event in first] == [RebirthWanted]
    assert hear(host, edge.data(batch(2), 2), now_s=9.9) == []
    assert len(hear(host, edge.data(batch(3), 2), now_s=10.0)) == 1


def test_unknown_alias_asks_for_a_rebirth_and_takes_nothing() -> None:
    _, host = born_pair()
    payload = encode(Payload(1, [Metric(alias=R1_BATCH, value=1), Metric(alias=99, timestamp_ms=5, value=1.0)], seq=3))
    (event,) = hear(host, Publish(node_topic("g", MessageType.DDATA, "n", "R1"), payload))
    assert isinstance(event, RebirthWanted)
    assert "alias 99" in event.reason


def test_alias_of_another_device_is_not_taken() -> None:
    _, host = born_pair()
    payload = encode(Payload(1, [Metric(alias=1, timestamp_ms=5, value=1.0)], seq=3))
    (event,) = hear(host, Publish(node_topic("g", MessageType.DDATA, "n", "R2"), payload))
    assert isinstance(event, RebirthWanted)


@settings(max_examples=50)
@given(st.randoms(use_true_random=False), st.integers(2, 30))
def test_reordered_messages_are_all_taken_and_ask_for_nothing(random_: random.Random, count: int) -> None:
    edge, host = born_pair()
    messages = [edge.data(batch(number), 2_000) for number in range(1, count + 1)]
    random_.shuffle(messages)
    events = [event for message in messages for event in hear(host, message)]
    assert sorted(event.number for event in events) == list(range(1, count + 1))  # type: ignore[attr-defined]
    assert host.poll(1_000.0) == []


def test_lost_message_asks_for_a_rebirth_after_the_reorder_time() -> None:
    edge, host = born_pair()
    edge.data(batch(1), 2_000)
    hear(host, edge.data(batch(2), 2_000), now_s=5.0)
    assert host.poll(7.9) == []
    (event,) = host.poll(8.0)
    assert isinstance(event, RebirthWanted)
    for message in edge.births(3_000, {}, 0):
        hear(host, message, now_s=9.0)
    assert host.poll(100.0) == []


def test_death_of_an_earlier_session_is_ignored() -> None:
    edge, host = new_edge(), HostSession("cloud")
    old_will = edge.will(0)
    edge.births(1, {}, 0)
    new_will = edge.will(10)
    for message in edge.births(11, {}, 0):
        hear(host, message)
    assert hear(host, old_will) == []
    assert host.knows("g", "n")
    assert hear(host, new_will) == [NodeDied("g", "n", 10)]
    assert not host.knows("g", "n")


def test_death_of_a_node_never_heard_of_is_told() -> None:
    edge = new_edge()
    assert hear(HostSession("cloud"), edge.will(10)) == [NodeDied("g", "n", 10)]


def test_device_death_and_birth_are_told() -> None:
    edge, host = born_pair()
    assert hear(host, edge.device_death("R1", 5)) == [DeviceDied("g", "n", "R1", 5)]
    (event,) = hear(host, edge.data(batch(1), 6))
    assert isinstance(event, RebirthWanted)
    (event,) = hear(host, edge.device_birth("R1", 7, {}))
    assert isinstance(event, DeviceBorn)


def test_malformed_value_keeps_the_batch_number_for_the_acknowledgement() -> None:
    _, host = born_pair()
    metrics = [Metric(alias=R1_BATCH, value=12), Metric(alias=5, timestamp_ms=5, value=1.5)]
    topic = node_topic("g", MessageType.DDATA, "n", "R1")
    (event,) = hear(host, Publish(topic, encode(Payload(1, metrics, seq=3))))
    assert isinstance(event, Malformed)
    assert (event.stream, event.number, event.device) == (STREAM, 12, "R1")
    assert "Pump/Running" in event.reason


@pytest.mark.parametrize("taken_at_ms", [253_402_300_800_000, (1 << 64) - 1])
def test_time_beyond_the_year_9999_is_malformed(taken_at_ms: int) -> None:
    _, host = born_pair()
    topic = node_topic("g", MessageType.DDATA, "n", "R1")
    payload = encode(Payload(1, [Metric(alias=1, timestamp_ms=taken_at_ms, value=1.0)], seq=3))
    (event,) = hear(host, Publish(topic, payload))
    assert isinstance(event, Malformed)
    assert "year 9999" in event.reason


@given(
    st.sampled_from(["NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH", "NCMD", "STATE"]), st.binary(max_size=80)
)
def test_whatever_others_publish_the_host_does_not_raise(type_: str, payload: bytes) -> None:
    _, host = born_pair()
    topic = "spBv1.0/STATE/x" if type_ == "STATE" else f"spBv1.0/g/{type_}/n" + ("/R1" if type_[0] == "D" else "")
    for event in host.receive(topic, payload, 1.0):
        assert isinstance(event, tuple)


def test_node_of_another_maker_is_taken_in_by_names_without_batch_numbers() -> None:
    host = HostSession("cloud")
    birth = [
        Metric("bdSeq", datatype=4, value=3),
        Metric("Node Control/Rebirth", datatype=11, value=False),
        Metric("Site/Temperature", timestamp_ms=7, datatype=9, value=21.5),
    ]
    (born,) = hear(host, Publish("spBv1.0/g/NBIRTH/other", encode(Payload(8, birth, seq=0))))
    assert isinstance(born, NodeBorn)
    assert (born.stream, [tag.name for tag in born.tags]) == (None, ["Site/Temperature"])
    assert born.tags[0].datatype is Datatype.FLOAT
    data = [Metric("Site/Temperature", timestamp_ms=9, datatype=9, value=22.0)]
    (event,) = hear(host, Publish("spBv1.0/g/NDATA/other", encode(Payload(9, data, seq=1))))
    assert isinstance(event, DataReceived)
    assert (event.stream, event.number, event.device) == (None, None, None)
    assert event.readings == (Reading(born.tags[0].number, 9, 22.0),)


def test_commands_reach_the_edge_as_events() -> None:
    edge, host = born_pair()
    ranges = NumberRanges([(20, 30), (40, 40)])
    for message, event in [
        (host.rebirth_command("g", "n", 5), RebirthRequested()),
        (host.acknowledgement("g", "n", 12, ranges, 5), Acknowledged(12, ranges)),
        (host.refusal("g", "n", 13, 5), Refused(13)),
        (host.state(online=True, timestamp_ms=77), HostState("cloud", online=True, timestamp_ms=77)),
    ]:
        assert edge.receive(message.topic, message.payload) == [event]
    assert edge.receive("spBv1.0/g/NCMD/other", b"") == []


def test_acknowledgement_names_what_was_compared() -> None:
    edge, host = born_pair()
    settled = NumberRanges([(3, 5), (9, 9)])
    for said in (settled, NumberRanges(), None):
        message = host.acknowledgement("g", "n", 12, NumberRanges(), 5, stream=edge.stream, settled=said)
        assert edge.receive(message.topic, message.payload) == [Acknowledged(12, NumberRanges(), said)]


def test_acknowledgement_and_refusal_say_which_content_they_are_about() -> None:
    edge, host = born_pair()
    settled, digests = NumberRanges([(3, 4), (9, 9)]), {number: bytes([number] * 16) for number in (3, 4, 9)}
    message = host.acknowledgement("g", "n", 9, NumberRanges(), 5, stream=edge.stream, settled=settled, digests=digests)
    runs = (digest_of_run([digests[3], digests[4]]), digest_of_run([digests[9]]))
    assert edge.receive(message.topic, message.payload) == [Acknowledged(9, NumberRanges(), settled, runs)]
    message = host.refusal("g", "n", 7, 5, stream=edge.stream, digest=digests[3])
    assert edge.receive(message.topic, message.payload) == [Refused(7, digests[3])]


@pytest.mark.parametrize("text", ["", "00", "zz" * 8, "00" * 8 + "," + "00" * 8])
def test_acknowledgement_with_other_digests_than_ranges_is_refused(text: str) -> None:
    edge, _ = born_pair()
    values = {"Sync/Acked": 3, "Sync/Settled": "3", "Sync/SettledDigests": text}
    metrics = [
        Metric(name, datatype=Datatype.UINT64 if type(value) is int else Datatype.STRING, value=value)
        for name, value in values.items()
    ]
    with pytest.raises(PayloadError, match="digests"):
        edge.receive("spBv1.0/g/NCMD/n", encode(Payload(5, metrics)))


def test_edge_knows_what_a_host_will_know_a_batch_by() -> None:
    edge, host = born_pair()
    batch = Batch(7, "R1", (Reading(1, 5, 7.0), Reading(1, 6, None)), (Gap(1, (1,), 2, None, "no reply"),))
    message = edge.data(batch, 9)
    (event,) = host.receive(message.topic, message.payload, 0.0)
    assert isinstance(event, DataReceived)
    assert edge.digest(batch) == event.digest == record_fingerprint("R1", 7, record_encode(batch))


def test_word_about_another_stream_is_not_taken_for_this_one() -> None:
    edge, host = born_pair()
    other = UUID(int=edge.stream.int ^ 1)
    for stream, events in ((edge.stream, [Acknowledged(12, NumberRanges())]), (other, [])):
        message = host.acknowledgement("g", "n", 12, NumberRanges(), 5, stream=stream)
        assert edge.receive(message.topic, message.payload) == events
    for stream, events in ((edge.stream, [Refused(7)]), (other, [])):
        message = host.refusal("g", "n", 7, 5, stream=stream)
        assert edge.receive(message.topic, message.payload) == events


def test_tag_command_is_read_by_alias_and_by_name() -> None:
    edge, _ = born_pair()
    topic = "spBv1.0/g/DCMD/n/R1"
    for metric in (Metric(alias=5, value=True), Metric("Pump/Running", datatype=11, value=True)):
        (event,) = edge.receive(topic, encode(Payload(9, [metric])))
        assert isinstance(event, TagCommand)
        assert event.tag is not None
        assert (event.tag.name, event.value, event.timestamp_ms) == ("Pump/Running", True, 9)
    with pytest.raises(PayloadError, match="no such tag"):
        edge.receive(topic, encode(Payload(9, [Metric(alias=9, value=1.0)])))


def test_nothing_is_sent_before_the_births() -> None:
    edge = new_edge()
    with pytest.raises(SessionError, match="no birth is out"):
        edge.data(batch(1), 5)
    edge.will(0)
    edge.births(1, {}, 0)
    edge.connection_lost()
    with pytest.raises(SessionError, match="no birth is out"):
        edge.data(batch(1), 5)


def test_device_without_its_sync_tags_is_refused() -> None:
    with pytest.raises(SessionError, match="Sync/Batch"):
        EdgeSession(group="g", node="n", stream=STREAM, bd_seq=None, tags=[TagDescription(1, "R1", "pH/PV")])
