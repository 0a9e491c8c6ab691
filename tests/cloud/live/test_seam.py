"""`/ws/live-data` over a real server, broker and database: no hole and no repetition, at the seam and after a loss."""

import asyncio
import json
import time

import pytest
import websockets
from lms_cloud.live.hub import Signal
from lms_firmware_sim.stand import broker_access
from lms_protocol.reading import Reading
from support.patience import awaiting
from support.plant import SmallAgent


class Browser:
    """What a page does with the messages: merges by tag and time, keeps the cursor."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], object] = {}
        self.repeated: list[tuple[str, int]] = []
        self.cursor: int | None = None
        self.messages: list[dict] = []
        self.names: dict[str, str] = {}
        self.online: bool | None = None

    @property
    def kinds(self) -> list[str]:
        """The types of all messages heard."""
        return [message["type"] for message in self.messages]

    def hear(self, message: dict) -> None:
        self.messages.append(message)
        if message["type"] == "history":
            self.names |= {tag["id"]: tag["name"] for tag in message["tags"]}
            if message["reset"]:
                self.points.clear()
            for tag, points in message["series"].items():
                for at_ms, value in zip(points["t"], points["v"], strict=True):
                    self._take(tag, at_ms, value)
        elif message["type"] == "live":
            for tag, at_ms, value, _ in message["readings"]:
                self._take(tag, at_ms, value)
        elif message["type"] == "status":
            self.online = message["online"]
        if "cursor" in message:
            assert self.cursor is None or message.get("reset") or message["cursor"] >= self.cursor
            self.cursor = message["cursor"]

    def _take(self, tag: str, at_ms: int, value: object) -> None:
        key = (self.names[tag], at_ms)
        if key in self.points:
            self.repeated.append(key)
        self.points[key] = value

    async def watch(self, address: str, bioreactor: object, *, until=None, **headers: str) -> None:
        """Connect, subscribe from the cursor, and hear until cancelled or `until` is true."""
        async with websockets.connect(address, additional_headers=headers) as socket:
            request = {"type": "subscribe", "bioreactor": str(bioreactor), "cursor": self.cursor, "max_points": 5000}
            await socket.send(json.dumps(request))
            async for text in socket:
                self.hear(json.loads(text))
                if self.messages[-1]["type"] == "late":
                    await socket.send(json.dumps({**request, "cursor": None}))
                if until is not None and until():
                    return


def logged(agent, now_ms=None):
    """Every reading of R1 in the agent's log, as a page would key it."""
    names = {1: "pH/PV", 2: "DO/PV"}
    return {
        (names[reading.tag], reading.taken_at_ms): reading.value
        for batch in agent.log.values()
        if batch.device == "R1"
        for reading in batch.readings
    }


@pytest.fixture
def scanning_of():
    """Appends a scan of R1 to an agent's log every few milliseconds until it is cancelled."""

    async def scan(agent: SmallAgent) -> None:
        last_ms = 0
        while True:
            # Each scan has a millisecond of its own, so that a repetition can be told from two readings.
            last_ms = max(last_ms + 1, time.time_ns() // 1_000_000)
            agent.append("R1", [Reading(1, last_ms, last_ms / 7), Reading(2, last_ms, last_ms % 100 * 1.0)])
            await asyncio.sleep(0.007)

    return scan


@pytest.fixture
def scanning(scanning_of, agent):
    """The same, of the agent on the session's broker."""
    return lambda: scanning_of(agent)


async def test_history_and_live_join_without_hole_or_repetition(
    agent, ingesting, ingest_settings, scanning, serving, plant, member
):
    async with ingesting(ingest_settings), agent.run(), serving() as server:
        task = asyncio.create_task(scanning())
        await agent.until_host_online()
        await asyncio.sleep(0.5)
        browsers = [Browser() for _ in range(6)]
        watching = []
        for browser in browsers:
            watching.append(asyncio.create_task(browser.watch(server.socket, plant.r1.id, **member.bearer)))
            await asyncio.sleep(0.13)
        await asyncio.sleep(0.5)
        task.cancel()
        await agent.delivered()
        expected = logged(agent)
        async with awaiting("every browser has all that was logged"):
            while any(len(browser.points) < len(expected) for browser in browsers):
                await asyncio.sleep(0.05)
        for each in watching:
            each.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    for browser in browsers:
        assert browser.points == expected
        assert browser.repeated == []
        assert browser.kinds.count("history") == 1 + browser.kinds.count("late")
        assert browser.online is True


async def test_reconnecting_browser_goes_on_from_its_cursor(
    agent, ingesting, ingest_settings, scanning, serving, plant, member
):
    browser = Browser()
    async with ingesting(ingest_settings), agent.run(), serving() as server:
        task = asyncio.create_task(scanning())
        async with awaiting("a batch is acknowledged"):
            while not agent.window.acked:
                await asyncio.sleep(0.01)
        for _ in range(8):
            enough = len(browser.messages) + 6
            seen = browser.watch(
                server.socket, plant.r1.id, until=lambda end=enough: len(browser.messages) >= end, **member.bearer
            )
            await asyncio.wait_for(seen, 20)
            await asyncio.sleep(0.1)
        task.cancel()
        await agent.delivered()
        expected = logged(agent)
        await asyncio.wait_for(
            browser.watch(
                server.socket, plant.r1.id, until=lambda: len(browser.points) == len(expected), **member.bearer
            ),
            20,
        )
    assert browser.points == expected
    assert browser.repeated == []
    if "late" not in browser.kinds:
        fills = [message["reset"] for message in browser.messages if message["type"] == "history"]
        assert fills == [True] + [False] * 8


async def test_slow_browser_is_told_what_it_lost_and_gets_history_anew(
    agent, ingesting, ingest_settings, serving, plant, member
):
    async with ingesting(ingest_settings), agent.run(), serving() as server:
        agent.append("R1", [Reading(1, time.time_ns() // 1_000_000, 1.0)])
        await agent.delivered()
        hub = server.app.state.live_hub
        browser = Browser()
        watching = asyncio.create_task(browser.watch(server.socket, plant.r1.id, **member.bearer))
        async with awaiting("a first message"):
            while not browser.messages:
                await asyncio.sleep(0.02)
        (queues,) = hub._queues.values()
        (queue,) = queues
        queue._limit = 1
        for _ in range(3):
            queue.put(Signal.RECONNECTED)
        agent.append("R1", [Reading(1, time.time_ns() // 1_000_000, 2.0)])
        await agent.delivered()
        async with awaiting("what was lost is told and fetched"):
            while len(browser.points) < 2 or "lost" not in browser.kinds:
                await asyncio.sleep(0.02)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert [m["messages"] for m in browser.messages if m["type"] == "lost"] == [3]
    assert browser.points == logged(agent)


async def test_late_readings_are_announced_by_their_time(agent, ingesting, ingest_settings, serving, plant, member):
    now_ms = time.time_ns() // 1_000_000
    browser = Browser()
    agent.append("R1", [Reading(1, now_ms - 60_000, 1.0)])
    async with serving() as server, ingesting(ingest_settings):
        async with agent.run():
            await agent.delivered()
        agent.append("R1", [Reading(1, now_ms - 30_000, 2.0), Reading(2, now_ms - 20_000, 2.0)])
        watching = asyncio.create_task(
            browser.watch(
                server.socket, plant.r1.id, until=lambda: browser.messages[-1]["type"] == "late", **member.bearer
            )
        )
        async with awaiting("the browser has a cursor"):
            while browser.cursor is None:
                await asyncio.sleep(0.02)
        async with agent.run():
            await asyncio.wait_for(watching, 20)
    assert [browser.messages[-1][key] for key in ("from_ms", "to_ms")] == [now_ms - 30_000, now_ms - 20_000]


async def test_broker_that_dies_leaves_no_hole(
    start_broker, ingesting, ingest_settings, web_settings, serving, plant, member, scanning_of
):
    account = broker_access.agent(plant.group, plant.node, "a password of the test")
    own = start_broker(account)
    agent = SmallAgent(own.url(plant.node), plant, ingest_settings.host_id)
    of_own = {"mqtt_url": own.url("cloud-ingest")}
    web = web_settings.model_copy(update={"mqtt_url": own.url("cloud-web")})
    browser = Browser()
    async with ingesting(ingest_settings.model_copy(update=of_own)), agent.run(), serving(web) as server:
        task = asyncio.create_task(scanning_of(agent))
        watching = asyncio.create_task(browser.watch(server.socket, plant.r1.id, **member.bearer))
        for _ in range(2):
            acked = agent.window.acked
            async with awaiting("twenty more batches acknowledged"):
                while agent.window.acked < acked + 20:
                    await asyncio.sleep(0.05)
            own.kill()
            await asyncio.sleep(0.2)
            own.start()
        await asyncio.sleep(0.5)
        task.cancel()
        await agent.delivered(60)
        expected = logged(agent)
        async with awaiting("the browser has all that was logged"):
            while not expected.keys() <= browser.points.keys():
                await asyncio.sleep(0.1)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert {key: browser.points[key] for key in expected} == expected
