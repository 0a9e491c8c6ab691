"""Each reading is stored and shown in the unit in which it was taken, whatever became of its tag's unit meanwhile.

A real agent's log and sender, a real broker, a real ingest worker, and REST.
"""

import asyncio

import psycopg
import pytest
from lms_agent.clock import SystemClock
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.registering import to_be_born
from lms_agent.sending.connection import Address
from lms_agent.sending.sender import Sender
from lms_cloud.fleet.directory import BioreactorEntry, FleetDirectory
from lms_cloud.telemetry.ingest.births import TagRegister
from lms_cloud.web.pages.readings_now import ReadingsNow
from lms_protocol.edge import EdgeSession
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Reading, TagDescription

NOON_MS = 1_795_435_200_000
WINDOW = {"start": "2026-11-23T12:00:00Z", "end": "2026-11-23T13:00:00Z"}
NAME = "Temp/PV"


class Bench:
    """An agent with one tag, whose unit can be changed, and a line to the broker that is up or down."""

    def __init__(self, log, plant, broker, host_id):
        self.log = log
        self._plant = plant
        self._broker = broker
        self._host_id = host_id
        self._account = broker.add_agent(plant.group, plant.node)
        self._at_ms = NOON_MS
        self.expected = {}

    def configure(self, unit):
        """The agent starts, or takes over settings, with the tag in this unit."""
        sync = [TagDescription(0, "R1", name, kind) for name, kind in SYNC_TAGS.items()]
        self._unit = unit
        self._tags = self.log.register_tags([TagDescription(0, "R1", NAME, unit=unit, low=0.0), *sync])

    async def read(self, *values):
        """Readings are logged."""
        for value in values:
            self._at_ms += 1_000
            await self.log.append("R1", [Reading(self._tags[0].number, self._at_ms, value)])
            self.expected.setdefault(self._unit, []).append((self._at_ms, value))

    async def deliver(self):
        """The line is up until everything is acknowledged."""
        plant, port = self._plant, self._broker.port
        password = self._account.password
        sender = Sender(
            log=self.log,
            session=EdgeSession(
                group=plant.group,
                node=plant.node,
                stream=self.log.stream,
                bd_seq=self.log.bd_seq,
                tags=to_be_born(self.log, self._tags),
                primary_host=self._host_id,
            ),
            address=Address(
                f"mqtt://127.0.0.1:{port}", "127.0.0.1", port, False, plant.node, lambda: password, None, plant.node
            ),
            clock=SystemClock(),
            max_wait_s=0.5,
        )
        task = asyncio.create_task(sender.run())
        try:
            async with asyncio.timeout(60):
                while self.log.acked < self.log.head:
                    await asyncio.sleep(0.02)
        finally:
            sender.stop()
            await task


@pytest.fixture
async def bench(tmp_path, plant, broker, ingest_settings):
    with SqliteLog.open(tmp_path / "log.db") as log:
        yield Bench(log, plant, broker, ingest_settings.host_id)


@pytest.fixture
async def ask(new_person, plant):
    person = await new_person(organization=None)
    with psycopg.connect(plant.superuser_url) as connection:
        who = [plant.organization_id, person.user_id]
        connection.execute("insert into memberships values (%s, %s, 'viewer', now())", who)
        connection.execute("update users set organization_id = %s where id = %s", who)

    async def get(path, **query):
        answer = await person.client.get(path, params=query, headers=person.bearer)
        assert answer.status_code == 200, answer.text
        return answer

    return get


async def shown(ask, plant):
    """What REST's history says, by unit: name, and the readings."""
    answer = (await ask(f"/api/v1/bioreactors/{plant.r1.id}/history", **WINDOW)).json()
    return {
        each["tag"]["unit"]: (each["tag"]["name"], list(zip(each["taken_at_ms"], each["value"], strict=True)))
        for each in answer["series"]
        if each["value"]
    }


async def test_backlog_of_a_unit_of_before_comes_in_under_that_unit(
    bench, ingesting, ingest_settings, plant, ask, query, web_db
):
    async with ingesting(ingest_settings):
        bench.configure("°C")
        await bench.read(36.9, 37.0)
        await bench.deliver()
        await bench.read(37.1, 37.2, 37.3)  # without a line
        bench.configure("°F")
        await bench.read(98.6)
        await bench.deliver()
        await bench.read(98.7)
        bench.configure("°C")  # somebody thinks better of it
        await bench.read(37.4)
        bench.configure("°F")
        await bench.read(98.8)
        await bench.deliver()
    found = await shown(ask, plant)
    assert found == {
        "°C": ("Temp/PV [°C]", bench.expected["°C"]),
        "°F": ("Temp/PV", bench.expected["°F"]),
    }
    csv = await ask(f"/api/v1/bioreactors/{plant.r1.id}/history.csv", **WINDOW)
    lines = csv.text.splitlines()
    assert sum(",°C," in line for line in lines) == len(bench.expected["°C"])
    assert sum(",°F," in line for line in lines) == len(bench.expected["°F"])
    async with web_db.unit_of_work(plant.organization_id) as uow:
        now = (await ReadingsNow(uow).tags([plant.r1.id]))[plant.r1.id]
    assert [(tag.name, tag.unit, tag.value) for tag in now] == [("Temp/PV", "°F", 98.8)], "pages of what is read now"
    assert query("select count(*) from dead_letters where bioreactor_id = %s", plant.r1.id) == [(0,)]


async def test_cloud_that_never_knew_the_tag_stores_the_backlog_in_its_units(
    bench, ingesting, ingest_settings, plant, ask
):
    bench.configure("L/min")
    await bench.read(1.5, 1.6)
    bench.configure("mL/min")
    await bench.read(1600.0)
    async with ingesting(ingest_settings):
        await bench.deliver()
    assert await shown(ask, plant) == {
        "L/min": ("Temp/PV [L per min]", bench.expected["L/min"]),
        "mL/min": ("Temp/PV", bench.expected["mL/min"]),
    }


async def test_unit_told_otherwise_by_two_workers_at_once_makes_one_tag(ingest_db, plant, query):
    entry = BioreactorEntry(plant.organization_id, plant.agent_id, plant.r1.id, plant.group, plant.node, "R1")
    celsius, fahrenheit = (TagDescription(n, "R1", NAME, unit=unit) for n, unit in ((1, "°C"), (2, "°F")))
    workers = [TagRegister(ingest_db, FleetDirectory(ingest_db)) for _ in range(2)]
    before = (await workers[0].register(entry, [celsius])).series[1]
    birth = [TagDescription(1, "R1", f"{NAME} [°C]", unit="°C"), fahrenheit]
    first, second = await asyncio.gather(*(worker.register(entry, birth) for worker in workers))
    assert first == second
    assert first.series[1] == before != first.series[2]
    names = query(
        "select name, properties->>'unit' from entities where entity_type = 'tag' and is_active"
        " and properties->>'bioreactor_id' = %s order by name",
        str(plant.r1.id),
    )
    assert names == [("Temp/PV", "°F"), ("Temp/PV [°C]", "°C")]


async def test_unit_that_people_put_right_in_the_cloud_makes_no_other_tag(ingest_db, plant, query):
    entry = BioreactorEntry(plant.organization_id, plant.agent_id, plant.r1.id, plant.group, plant.node, "R1")
    register = TagRegister(ingest_db, FleetDirectory(ingest_db))
    before = await register.register(entry, [TagDescription(1, "R1", NAME, unit="degC")])
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute(
            'update entities set properties = properties || \'{"unit": "°C"}\''
            " where entity_type = 'tag' and properties->>'bioreactor_id' = %s",
            [str(plant.r1.id)],
        )
    after = await register.register(entry, [TagDescription(1, "R1", NAME, unit="degC", low=0.0)])
    assert after.series == before.series
    assert len(query("select 1 from series where bioreactor_id = %s", plant.r1.id)) == 1
