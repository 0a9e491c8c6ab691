"""Edge nodes of other makers: bytes made here by hand, by the specification's field table, without our own code."""

import asyncio
import json
import struct

import aiomqtt
import psycopg
import pytest
from lms_cloud.fleet.models import Bioreactor
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.entities import EntityJournal
from lms_cloud.telemetry.columns import NotStorableError, check_storable
from lms_cloud.telemetry.ingest import resolving
from support.patience import awaiting, line_of

NOON_MS = 1_795_435_200_000
INT8, INT32, UINT64, FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME, DATASET, TEMPLATE = 1, 3, 8, 9, 10, 11, 12, 13, 16, 19
FIELDS = {INT8: 10, INT32: 10, UINT64: 11, DATETIME: 11, FLOAT: 12, DOUBLE: 13, BOOLEAN: 14, STRING: 15}


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def whole(field, number):
    return varint(field << 3) + varint(number)


def block(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def metric(name=None, kind=None, value=None, *, alias=None, at_ms=NOON_MS, raw=b""):
    """One metric; `raw` is put in place of a value."""
    out = b"" if name is None else block(1, name.encode())
    out += b"" if alias is None else whole(2, alias)
    out += b"" if at_ms is None else whole(3, at_ms)
    out += b"" if kind is None or name is None else whole(4, kind)
    if raw:
        return block(2, out + raw)
    if value is None:
        return block(2, out + whole(7, 1))
    field = FIELDS[kind]
    if kind == FLOAT:
        out += varint(field << 3 | 5) + struct.pack("<f", value)
    elif kind == DOUBLE:
        out += varint(field << 3 | 1) + struct.pack("<d", value)
    elif kind == STRING:
        out += block(field, value.encode())
    else:
        out += whole(field, value % (1 << 32) if kind in {INT8, INT32} else int(value))
    return block(2, out)


def payload(*metrics, seq, at_ms=NOON_MS):
    return whole(1, at_ms) + b"".join(metrics) + whole(3, seq)


DATA_SET = block(17, whole(1, 1) + block(2, b"column") + block(3, varint(DOUBLE)))
A_TEMPLATE = block(18, block(1, b"1.0"))
NBIRTH = (
    metric("bdSeq", UINT64, 0),
    metric("Node Control/Rebirth", BOOLEAN, False),
    metric("Cabinet/Temperature", FLOAT, 21.5),
    metric("Cabinet/Offset", INT8, -5),
    metric("Cabinet/Door", BOOLEAN, True),
    metric("Cabinet/Table", DATASET, raw=DATA_SET),
    metric("Cabinet/Kind", TEMPLATE, raw=A_TEMPLATE),
)
DBIRTH = (
    metric("Level", DOUBLE, 1.5, alias=0),
    metric("Valve", INT32, -70_000, alias=7),
    metric("Recipe", STRING, "A", alias=8),
    metric("Spectrum", DATASET, raw=DATA_SET, alias=9),
)


@pytest.fixture
async def cabinet(plant, migrated_database):
    """A bioreactor that is called like the node, for what the node tells of itself."""
    async with Database(migrated_database.url) as database, database.unit_of_work(plant.organization_id) as uow:
        await EntityJournal(uow).create(
            Bioreactor, organization_id=plant.organization_id, name="Cabinet", properties={"wire_id": plant.node}
        )


@pytest.fixture
async def node(plant, broker, ingesting, ingest_settings):
    """Publish as the plant's agent, to an ingest worker that listens; gives the commands that come back, too."""
    broker.add_agent(plant.group, plant.node)
    account = broker.accounts[plant.node]
    commands = []
    async with (
        ingesting(ingest_settings),
        aiomqtt.Client(broker.host, broker.port, username=account.name, password=account.password) as client,
    ):
        await client.subscribe(f"spBv1.0/STATE/{ingest_settings.host_id}", qos=1)
        await client.subscribe(f"spBv1.0/{plant.group}/NCMD/{plant.node}", qos=1)
        messages = aiter(client.messages)
        async with awaiting("STATE online"):
            while not json.loads((await anext(messages)).payload)["online"]:
                pass

        async def publish(kind, data, device=None):
            place = f"{plant.node}/{device}" if device else plant.node
            await client.publish(f"spBv1.0/{plant.group}/{kind}/{place}", data)

        async def listen():
            async for message in messages:
                if "/NCMD/" in message.topic.value:
                    commands.append(message.payload)  # noqa: PERF401 - seen while it grows

        listening = asyncio.create_task(listen())
        publish.commands = commands
        yield publish
        listening.cancel()


@pytest.fixture
def values(query):
    """Every stored value by (bioreactor's name or wire id, tag), in order of time."""

    def ask():
        found = {}
        for home, tag, value in query(
            "select b.name, t.name, v.value from (select series_id, taken_at, value::text from readings"
            " union all select series_id, taken_at, value from readings_text) v join series s on s.id = v.series_id"
            " join entities t on t.id = s.tag_id join entities b on b.id = s.bioreactor_id order by taken_at"
        ):
            found.setdefault((home, tag), []).append(value)
        return found

    return ask


async def until(true, timeout_s=30):
    async with awaiting(line_of(true), timeout_s):
        while not true():
            await asyncio.sleep(0.05)


async def test_node_with_devices_and_metrics_of_its_own_is_taken_in(cabinet, node, values, query):
    await node("NBIRTH", payload(*NBIRTH, seq=0))
    await node("DBIRTH", payload(*DBIRTH, seq=1), "R1")
    data = (
        metric(alias=0, kind=DOUBLE, value=1.75, at_ms=NOON_MS + 1),
        metric(alias=7, kind=INT32, value=-3, at_ms=NOON_MS + 1),
        metric(alias=8, at_ms=NOON_MS + 1),  # null
        metric(alias=9, raw=DATA_SET, at_ms=NOON_MS + 1),
    )
    await node("DDATA", payload(*data, seq=2), "R1")
    named = (
        metric("Cabinet/Temperature", FLOAT, 22.25, at_ms=NOON_MS + 1),
        metric("Cabinet/Table", DATASET, raw=DATA_SET, at_ms=NOON_MS + 1),
        metric("Cabinet/Offset", INT8, -6, at_ms=None),  # the payload's time is its own
    )
    await node("NDATA", payload(*named, seq=3, at_ms=NOON_MS + 2))
    await until(lambda: len(values().get(("Cabinet", "Cabinet/Offset"), ())) == 2)
    assert values() == {
        ("R1", "Level"): ["1.5", "1.75"],
        ("R1", "Valve"): ["-70000", "-3"],
        ("R1", "Recipe"): ["A", None],
        ("Cabinet", "Cabinet/Temperature"): ["21.5", "22.25"],
        ("Cabinet", "Cabinet/Offset"): ["-5", "-6"],
        ("Cabinet", "Cabinet/Door"): ["1"],
    }
    assert query("select quality from readings_text where value is null") == [(0,)]
    assert query("select count(*) from ledger") == [(0,)]
    assert query("select count(*) from dead_letters") == [(0,)]
    assert query("select sum(batches), sum(readings) from ledger_hours") == [(4, 11)]
    assert query("select online from feeds order by online") == [(True,), (True,)]
    await node("NDEATH", whole(1, NOON_MS + 5) + metric("bdSeq", UINT64, 0))
    await until(lambda: query("select distinct online from feeds") == [(False,)])


async def test_births_repeated_with_other_aliases_are_followed(node, values):
    await node("NBIRTH", payload(*NBIRTH[:2], seq=0))
    await node("DBIRTH", payload(metric("Level", DOUBLE, 1.0, alias=1), seq=1), "R1")
    swapped = (metric("Other", DOUBLE, 5.0, alias=1), metric("Level", DOUBLE, 2.0, alias=2, at_ms=NOON_MS + 1))
    await node("NBIRTH", payload(*NBIRTH[:2], seq=0))
    await node("DBIRTH", payload(*swapped, seq=1), "R1")
    data = (metric(alias=1, kind=DOUBLE, value=6.0, at_ms=NOON_MS + 2),)
    await node("DDATA", payload(*data, metric(alias=2, kind=DOUBLE, value=3.0, at_ms=NOON_MS + 2), seq=2), "R1")
    await until(lambda: len(values().get(("R1", "Level"), ())) == 3)
    assert values() == {("R1", "Level"): ["1", "2", "3"], ("R1", "Other"): ["5", "6"]}


async def test_node_that_is_not_understood_is_asked_for_its_births_and_not_more_often_than_agreed(node, query):
    for n in range(20):
        await node("DDATA", payload(metric(alias=3, kind=DOUBLE, value=1.0), seq=n), "R1")
        await asyncio.sleep(0.02)
    await until(lambda: node.commands)
    await asyncio.sleep(1)
    assert len(node.commands) == 1
    assert b"Node Control/Rebirth" in node.commands[0]
    assert query("select count(*) from readings") == [(0,)]


@pytest.fixture
def yesterday(monkeypatch):
    """A decoder of yesterday, which can take nothing; call what this gives to have today's."""

    def refuse(columns, gaps=()):
        raise NotStorableError("yesterday's version could not")

    monkeypatch.setattr(resolving, "check_storable", refuse)
    return lambda: monkeypatch.setattr(resolving, "check_storable", check_storable)


async def test_letters_of_a_node_and_of_its_births_are_stored_when_they_can_be(
    cabinet, node, values, query, yesterday, plant
):
    await node("NBIRTH", payload(*NBIRTH, seq=0))
    await node("DBIRTH", payload(*DBIRTH, seq=1), "R1")
    await node("DDATA", payload(metric(alias=0, kind=DOUBLE, value=1.75, at_ms=NOON_MS + 1), seq=2), "R1")
    await node("NDATA", payload(metric("Cabinet/Temperature", FLOAT, 22.25, at_ms=NOON_MS + 1), seq=3))
    await until(lambda: query("select count(*) from dead_letters") == [(4,)])
    assert values() == {}
    assert query("select count(*) from dead_letters where bioreactor_id is null or birth is null") == [(0,)]
    yesterday()
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update dead_letters set state = 'asked'")
    await until(lambda: query("select count(*) from dead_letters where state = 'asked'") == [(0,)])
    assert query("select topic, refused from dead_letters where state <> 'stored'") == []
    assert values() == {
        ("R1", "Level"): ["1.5", "1.75"],
        ("R1", "Valve"): ["-70000"],
        ("R1", "Recipe"): ["A"],
        ("Cabinet", "Cabinet/Temperature"): ["21.5", "22.25"],
        ("Cabinet", "Cabinet/Offset"): ["-5"],
        ("Cabinet", "Cabinet/Door"): ["1"],
    }


async def test_message_of_a_node_that_cannot_be_decoded_belongs_to_the_bioreactor_of_its_name(cabinet, node, query):
    await node("NBIRTH", payload(*NBIRTH, seq=0))
    await node("NDATA", b"\x0a\xff no payload")
    await until(lambda: query("select count(*) from dead_letters") == [(1,)])
    assert query(
        "select b.name, d.birth is not null from dead_letters d join entities b on b.id = d.bioreactor_id"
    ) == [("Cabinet", True)]
