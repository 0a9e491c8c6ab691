"""The live message: what JSON says of the readings of a commit."""

import json
import math
from datetime import UTC, datetime
from uuid import uuid4

from lms_cloud.telemetry.announcing import MAX_READINGS, live_messages
from lms_cloud.telemetry.incoming import Bioreactor, DeviceTags, Incoming, Outcome, StatusChange, StreamBatch, Work
from lms_protocol.columns import Columns
from lms_protocol.reading import Quality, Reading

AT_MS = 1_795_435_200_123
HOME = Bioreactor(uuid4(), uuid4(), "acme", "R-101")
TAGS = DeviceTags({1: 11, 2: 12, 3: 13}, {1: "pH/PV", 2: "DO/PV", 3: "Tür/PV"}, frozenset())


def incoming(readings: list[Reading], number: int = 1, *, historical: bool = False) -> Incoming:
    batch = Columns.of(readings)
    return Incoming(HOME, StreamBatch(uuid4(), number), b"", batch, (), TAGS, historical, "pi-1", "topic", b"")


def message_of(*batches: Incoming, statuses: tuple[StatusChange, ...] = ()) -> dict:
    outcome = Outcome(stored=list(batches), cursors={HOME.id: 42}, statuses=list(statuses))
    (message,) = live_messages(Work(batches, (), statuses), outcome)
    assert message.topic == "lms/live/acme/R-101"
    return json.loads(message.payload)


def test_numbers_come_with_tag_time_and_quality_in_the_order_stored() -> None:
    told = message_of(
        incoming([Reading(1, AT_MS, 7.01), Reading(3, AT_MS + 1, 0.1 + 0.2, Quality.UNCERTAIN)]),
        incoming([Reading(2, AT_MS - 5, 1e300)], 2),
    )
    assert told == {
        "v": 1,
        "cursor": 42,
        "previous": 41,
        "readings": [
            ["pH/PV", AT_MS, 7.01, 192],
            ["Tür/PV", AT_MS + 1, 0.1 + 0.2, int(Quality.UNCERTAIN)],
            ["DO/PV", AT_MS - 5, 1e300, 192],
        ],
    }


def test_what_json_has_no_number_for_is_null() -> None:
    told = message_of(incoming([Reading(1, AT_MS, value) for value in (math.nan, math.inf, -math.inf, -0.0)]))
    assert [value for _, _, value, _ in told["readings"]] == [None, None, None, 0.0]


def test_other_kinds_come_as_what_they_are_and_integers_beyond_exact_ones_as_text() -> None:
    values = [None, True, "an", (1 << 53), (1 << 53) + 1, -(1 << 63), (1 << 64) - 1, 0.5, math.nan]
    told = message_of(incoming([Reading(1, AT_MS + n, value) for n, value in enumerate(values)]))
    shown = [value for _, _, value, _ in told["readings"]]
    assert shown == [None, True, "an", 1 << 53, str((1 << 53) + 1), str(-(1 << 63)), str((1 << 64) - 1), 0.5, None]
    assert [quality for *_, quality in told["readings"]] == [int(Quality.BAD)] + [192] * 8


def test_late_batches_and_very_many_readings_are_told_as_a_stretch_of_time() -> None:
    late = incoming([Reading(1, AT_MS - 60_000, 1.0), Reading(2, AT_MS - 50_000, 2.0)], historical=True)
    told = message_of(incoming([Reading(1, AT_MS, 7.0)]), late)
    assert (told["readings"], told["late"]) == ([["pH/PV", AT_MS, 7.0, 192]], [AT_MS - 60_000, AT_MS - 50_000])
    many = incoming([Reading(1, AT_MS + n, 1.0) for n in range(MAX_READINGS + 1)])
    told = message_of(many)
    assert "readings" not in told
    assert told["late"] == [AT_MS, AT_MS + MAX_READINGS]


def test_a_status_comes_with_its_time() -> None:
    since = datetime.fromtimestamp(AT_MS / 1000, UTC)
    told = message_of(statuses=(StatusChange(HOME, uuid4(), True, since),))
    assert told == {"v": 1, "cursor": 42, "previous": 41, "status": {"online": True, "since_ms": AT_MS}}
