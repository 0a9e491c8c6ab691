"""The published test vectors mean what they say, and the specification shows the same bytes."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lms_protocol.batches import as_logged, digest, record_decode, record_encode, record_fingerprint
from lms_protocol.commands import Note, command_message
from lms_protocol.delivery import digest_of_run
from lms_protocol.edge import Accepts, Acknowledged, EdgeSession, RebirthRequested, Refused, TagCommand
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, DeviceBorn, DeviceDied, NodeBorn, NodeDied
from lms_protocol.marks import marked_alias
from lms_protocol.messages import HostState
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, ClockRecord, Datatype, Gap, Origin, Quality, Reading, TagDescription
from support.sparkplug import STREAM

PROTOCOL = Path(__file__).parents[2] / "protocol"
VECTORS = json.loads((PROTOCOL / "vectors.json").read_text())
MESSAGES: dict[str, dict[str, Any]] = {message["name"]: message for message in VECTORS["messages"]}
BATCHES: dict[str, dict[str, Any]] = {batch["name"]: batch for batch in VECTORS["batches"]}
T = 1_700_000_000_000
TAGS = (
    TagDescription(1, "R1", "pH/PV", unit="pH", low=6.0, high=8.0, decimals=2),
    TagDescription(2, "R1", "Pump/Running", Datatype.BOOLEAN, access="write"),
    TagDescription(3, "R1", "Sync/Batch", Datatype.UINT64),
    TagDescription(4, "R1", "Sync/Gap", Datatype.STRING),
)
READINGS_42 = (Reading(1, T + 1_000, 7.03), Reading(2, T + 1_001, True))
READINGS_43 = (Reading(1, T + 2_000, None, Quality.BAD), Reading(2, T + 2_001, True, Quality.UNCERTAIN))
GAPS_43 = (Gap(43, (1,), T + 1_000, None, "no reply from unit 1"),)
MEANT = {
    "batch-42": Batch(42, "R1", READINGS_42),
    "batch-43": Batch(43, "R1", READINGS_43, GAPS_43),
    "every-kind": Batch(
        1,
        "R1",
        (
            Reading(1, 0, -0.0),
            Reading(2, 1, float("inf")),
            Reading(3, 2, -5),
            Reading(4, 3, "µ"),
            Reading(5, 4, None, Quality.STALE),
        ),
    ),
    "clock": Batch(
        44,
        "R1",
        (Reading(5, T + 3_000, (1 << 64) - 1),),
        (Gap(43, (1,), T + 1_000, T + 3_000, "no reply from unit 1"),),
        ClockRecord(STREAM, T - 60_000, trusted=True, error_ms=-12, correction_ms=0),
    ),
    "origin": Batch(45, "R1", (Reading(1, T + 4_000, 7.04),), origin=Origin(STREAM, 42)),
}


def payload(name: str) -> bytes:
    return bytes.fromhex(MESSAGES[name]["hex"])


def test_host_reads_every_message_of_the_edge() -> None:
    host = HostSession("cloud")
    events = {
        name: host.receive(MESSAGES[name]["topic"], payload(name), 0.0)
        for name in ("nbirth", "dbirth", "ddata-live", "ddata-historical", "ndata-packed", "ddeath", "ndeath")
    }
    (birth,) = events["dbirth"]
    aliases = [metric.tag.number for metric in birth.metrics if metric.has_alias]
    assert aliases == [1, 2, 271_048_374_484_995, 4]
    events["dbirth"] = [birth._replace(metrics=())]
    events["nbirth"] = [event._replace(metrics=()) for event in events["nbirth"]]
    born = [Reading(1, T - 500, 7.02), Reading(2, T - 500, False)]
    digests = [bytes.fromhex(BATCHES[name]["digest"]) for name in ("batch-42", "batch-43")]
    assert events == {
        "nbirth": [NodeBorn("acme", "agent-1", STREAM, 41, 0, T + 1, (), ())],
        "dbirth": [DeviceBorn("acme", "agent-1", "R1", STREAM, T + 1, TAGS[:2], tuple(born))],
        "ddata-live": [DataReceived("acme", "agent-1", "R1", STREAM, 42, digests[0], READINGS_42, (), False)],
        "ddata-historical": [DataReceived("acme", "agent-1", "R1", STREAM, 43, digests[1], READINGS_43, GAPS_43, True)],
        "ndata-packed": [
            DataReceived(
                *("acme", "agent-1", "R1", STREAM, number, digest, readings, gaps),  # type: ignore[arg-type]
                historical=True,
                packed=True,
            )
            for number, digest, readings, gaps in (
                (42, digests[0], READINGS_42, ()),
                (43, digests[1], READINGS_43, GAPS_43),
            )
        ],
        "ddeath": [DeviceDied("acme", "agent-1", "R1", T + 9_001)],
        "ndeath": [NodeDied("acme", "agent-1", T)],
    }


def test_mark_of_a_stream_is_what_the_specification_says() -> None:
    assert marked_alias(STREAM, 3) == 271_048_374_484_995 == (2_067_934_986 << 17) + 3


def test_host_reads_what_an_agent_sends_that_does_not_mark_its_batches() -> None:
    marked, unmarked = HostSession("cloud"), HostSession("cloud")
    for host in (marked, unmarked):
        host.receive(MESSAGES["nbirth"]["topic"], payload("nbirth"), 0.0)
    for name in ("dbirth", "ddata-live", "ndata-packed"):
        (event, *more), (other, *others) = (
            host.receive(MESSAGES[form]["topic"], payload(form), 0.0)
            for host, form in ((marked, name), (unmarked, f"{name}-unmarked"))
        )
        if isinstance(event, DeviceBorn) and isinstance(other, DeviceBorn):
            event, other = event._replace(metrics=()), other._replace(metrics=())
        assert [event, *more] == [other, *others]
        assert isinstance(event, DeviceBorn | DataReceived)


def test_host_knows_a_batch_whose_times_could_be_corrected_by_what_was_logged() -> None:
    vector, host = BATCHES["batch-43"], HostSession("cloud")
    logged = as_logged(UUID(vector["boot"]), "R1", 43, bytes.fromhex(vector["record"]))
    assert logged.hex() == vector["logged"]
    for name in ("nbirth", "dbirth-logged"):
        host.receive(MESSAGES[name]["topic"], payload(name), 0.0)
    (event,) = host.receive(MESSAGES["ddata-logged"]["topic"], payload("ddata-logged"), 0.0)
    assert isinstance(event, DataReceived)
    assert (event.digest, event.content) == (logged, bytes.fromhex(vector["digest"]))


def test_edge_reads_every_message_of_the_host() -> None:
    edge = EdgeSession(group="acme", node="agent-1", stream=STREAM, bd_seq=None, tags=TAGS, primary_host="cloud")
    names = [name for name in MESSAGES if name.startswith(("ncmd-", "state-"))]
    digests = {number: bytes.fromhex(BATCHES[f"batch-{number}"]["digest"]) for number in (42, 43)}
    run = digest_of_run(digests.values())
    events = {name: edge.receive(MESSAGES[name]["topic"], payload(name)) for name in names}
    assert events == {
        "ncmd-ack": [Acknowledged(41, NumberRanges.parse("43-50,52"))],
        "ncmd-birth-answer": [Accepts(frozenset({"packed-1"})), Acknowledged(41, NumberRanges())],
        "ncmd-settled": [Acknowledged(43, NumberRanges(), NumberRanges([(42, 43)]), (run,))],
        "ncmd-refused": [Refused(42)],
        "ncmd-refused-content": [Refused(42, digests[42])],
        "ncmd-rebirth": [RebirthRequested()],
        "state-online": [HostState("cloud", online=True, timestamp_ms=T)],
    }


def test_edge_reads_commands_and_says_in_its_birth_that_it_takes_them() -> None:
    edge = EdgeSession(group="acme", node="agent-1", stream=STREAM, bd_seq=None, tags=TAGS, takes_commands=True)
    note = Note("5f0c2c1e", "ada", "Start feed", T + 30_500)
    message = command_message("acme", "agent-1", TAGS[1], True, note=note, now_ms=T + 500)
    assert (message.topic, message.payload) == (MESSAGES["dcmd-command"]["topic"], payload("dcmd-command"))
    for name, named, text in (("dcmd-command", 2, note.to_text()), ("dcmd-plain", "Pump/Running", None)):
        events = edge.receive(MESSAGES[name]["topic"], payload(name))
        assert events == [TagCommand("R1", TAGS[1], True, T + 500, named, text)]
    edge.will(T)
    born = edge.births(T + 1, {1: Reading(1, T - 500, 7.02), 2: Reading(2, T - 500, False)}, 41)[1]
    assert born.payload == payload("dbirth-commands")
    host = HostSession("cloud")
    host.receive(MESSAGES["nbirth"]["topic"], payload("nbirth"), 0.0)
    (event,) = host.receive(MESSAGES["dbirth-commands"]["topic"], payload("dbirth-commands"), 0.0)
    assert isinstance(event, DeviceBorn)
    assert event.tags == TAGS[:2]


@pytest.mark.parametrize("name", sorted(BATCHES))
def test_record_and_digest_of_each_vector(name: str) -> None:
    vector, batch = BATCHES[name], MEANT[name]
    for form in ("record", "record_1"):  # a log keeps what it has: records on disk must stay readable for ever
        if form in vector:
            assert repr(record_decode(batch.number, batch.device, bytes.fromhex(vector[form]))) == repr(batch)
    assert record_encode(batch).hex() == vector["record"], "another form needs another first byte"
    assert record_fingerprint(batch.device, batch.number, record_encode(batch)).hex() == vector["digest"]
    said = (batch.device, batch.number, batch.readings, batch.gaps, batch.clock)
    assert digest(*said, origin=batch.origin).hex() == vector["digest"]


def test_specification_shows_the_same_bytes() -> None:
    text = re.sub(r"\s+", "", (PROTOCOL / "SPEC.md").read_text())
    for message in MESSAGES.values():
        assert message["hex"] in text, message["name"]
    for batch in BATCHES.values():
        assert batch["record"] in text, batch["name"]
        assert batch.get("record_1", "") in text, batch["name"]
        assert batch["digest"] in text, batch["name"]
        assert batch.get("logged", "") in text, batch["name"]
