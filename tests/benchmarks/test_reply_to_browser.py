"""Time from an instrument's reply to the painted frame in Chromium, beside what the hops cost alone.

Both ends have the same clock: a reading carries when its reply arrived, the page notes when the frame was painted that
followed the live message. The hops alone, in the same run: two passages of the same broker and one commit of a row.
"""

import asyncio
import json
import os
import shutil
import time
from pathlib import Path
from statistics import median

import aiomqtt
import psycopg
import pytest
from playwright.async_api import async_playwright
from support.chain import EMAIL, chain
from support.figures import show

pytestmark = pytest.mark.bench
PERIOD_S, MEASURE_S = 0.25, 25.0
# Notes, for each live message, the time of the paint after it and the times of its readings.
NOTE_PAINTS = """
window.paints = [];
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", (event) => {
      const message = JSON.parse(event.data);
      if (message.type !== "live") return;
      requestAnimationFrame(() => requestAnimationFrame(() => {
        const now = Date.now();
        for (const reading of message.readings) window.paints.push(now - reading[1]);
      }));
    });
  }
};
"""


async def painted_after_ms(url: str, bioreactor: object, password: str) -> list[float]:
    """For every reading of the time measured: ms from its reply to its paint."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not on PATH; on Debian: apt-get install chromium")
    switches = ["--disable-gpu", "--disable-background-networking", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=switches)
        page = await browser.new_page()
        await page.add_init_script(NOTE_PAINTS)
        await page.goto(f"{url}/app/login")
        await page.get_by_label("E-mail").fill(EMAIL)
        await page.get_by_label("Password").fill(password)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/app/")
        await page.goto(f"{url}/app/bioreactors/{bioreactor}")
        async with asyncio.timeout(60):
            while await page.evaluate("window.paints.length") < 200:  # the page's policy lets no wait_for_function in
                await asyncio.sleep(0.2)
        await page.evaluate("window.paints.length = 0")
        await asyncio.sleep(MEASURE_S)
        paints: list[float] = json.loads(await page.evaluate("JSON.stringify(window.paints)"))
        await browser.close()
    return sorted(paints)


async def hops_alone_ms(broker, database) -> float:
    """Median of two passages of the broker and one durable commit, in ms."""

    def account(name: str) -> dict[str, str]:
        return {"username": name, "password": broker.accounts[name].password}

    took = []
    async with (
        await psycopg.AsyncConnection.connect(database.superuser_url, autocommit=True) as connection,
        aiomqtt.Client(hostname=broker.host, port=broker.port, **account("feed")) as hearing,
        aiomqtt.Client(hostname=broker.host, port=broker.port, **account("cloud-ingest")) as saying,
    ):
        await connection.execute("create table hops (at timestamptz)")
        await hearing.subscribe("lms/live/#")
        messages = aiter(hearing.messages)
        for _ in range(100):
            began_s = time.perf_counter()
            for _ in range(2):
                await saying.publish("lms/live/bench/hop", bytes(1_500))
                while (await anext(messages)).topic.value != "lms/live/bench/hop":
                    pass
            await connection.execute("insert into hops values (now())")
            took.append((time.perf_counter() - began_s) * 1_000)
    return median(took)


async def test_time_from_reply_to_paint(tmp_path: Path, migrated_database, broker) -> None:
    async with chain(tmp_path, migrated_database, broker, period_s=PERIOD_S, web=True) as running:
        paints = await painted_after_ms(running.url, running.bioreactor, running.password)
        hops_ms = await hops_alone_ms(broker, migrated_database)
    assert len(paints) > 1_000
    half, most = paints[len(paints) // 2], paints[int(len(paints) * 0.99)]
    what = f"reply to paint in Chromium, 50 tags every {PERIOD_S:g} s"
    show(
        f"{what}: median",
        f"{half:.0f} ms",
        beside=f"two broker passages and a commit alone: {hops_ms:.1f} ms",
        ratio=half / hops_ms,
    )
    show("  p99", f"{most:.0f} ms", beside=f"the same: {hops_ms:.1f} ms", ratio=most / hops_ms)
