"""Who may do what on the broker, asked of a real broker."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

WAIT_S = 60.0
REFUSED = 128


class Client:
    """A connected client that collects what it hears."""

    def __init__(self, client: mqtt.Client) -> None:
        self.client = client
        self.granted: queue.Queue[int] = queue.Queue()
        self.heard: queue.Queue[str] = queue.Queue()
        client.on_subscribe = lambda _c, _d, _m, codes, _p: self.granted.put(codes[0].value)
        # Retained messages were left by other tests: STATE of their hosts.
        client.on_message = lambda _c, _d, message: None if message.retain else self.heard.put(message.topic)

    def subscribe(self, topic: str) -> int:
        """What the broker answers: a granted QoS, or 128 for refused."""
        self.client.subscribe(topic, qos=1)
        return self.granted.get(timeout=WAIT_S)

    def publish(self, topic: str) -> None:
        self.client.publish(topic, b"x", qos=1).wait_for_publish(WAIT_S)


@contextmanager
def connected(broker, account: str | None, password: str | None) -> Iterator[tuple[Client, bool]]:
    """A client and whether the broker took it."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    answers: queue.Queue[bool] = queue.Queue()
    client.on_connect = lambda _c, _d, _f, code, _p: answers.put(not code.is_failure)
    if account is not None:
        client.username_pw_set(account, password)
    collecting = Client(client)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        yield collecting, answers.get(timeout=WAIT_S)
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def logged_in(broker, account: str) -> Iterator[Client]:
    with connected(broker, account, broker.accounts[account].password) as (client, accepted):
        assert accepted
        yield client


def test_anonymous_is_refused(broker):
    with connected(broker, None, None) as (_, accepted):
        assert not accepted


def test_wrong_password_is_refused(broker):
    with connected(broker, "feed", "wrong") as (_, accepted):
        assert not accepted


@pytest.fixture
def agents(broker, request):
    """Two agents of one organization."""
    group = f"org-{abs(hash(request.node.name)) % 10**8}"
    a, b = broker.add_agent(group, f"{group}-a"), broker.add_agent(group, f"{group}-b")
    return group, a, b


def test_agent_publishes_as_itself_only(broker, agents):
    group, a, b = agents
    with logged_in(broker, "feed") as feed, logged_in(broker, a.name) as agent:
        assert feed.subscribe("spBv1.0/#") == 1
        forbidden = [
            f"spBv1.0/{group}/NBIRTH/{b.name}",
            f"spBv1.0/{group}/DDATA/{b.name}/R1",
            f"spBv1.0/other/NBIRTH/{a.name}",
            f"spBv1.0/{group}/NCMD/{a.name}",
            f"spBv1.0/{group}/DCMD/{a.name}/R1",
            "spBv1.0/STATE/lms-cloud",
            f"lms/live/{group}/R1",
            "$CONTROL/dynamic-security/v1",
        ]
        for topic in forbidden:
            agent.publish(topic)
        allowed = [f"spBv1.0/{group}/{kind}/{a.name}" for kind in ("NBIRTH", "NDATA", "NDEATH")]
        allowed += [f"spBv1.0/{group}/{kind}/{a.name}/R1" for kind in ("DBIRTH", "DDATA", "DDEATH")]
        for topic in allowed:
            agent.publish(topic)
        # The broker keeps one client's order, so nothing forbidden can come after the last allowed message.
        assert [feed.heard.get(timeout=WAIT_S) for _ in allowed] == allowed
        assert feed.heard.empty()


def test_agent_hears_only_what_is_meant_for_it(broker, agents):
    group, a, b = agents
    with logged_in(broker, a.name) as agent:
        for topic in (f"spBv1.0/{group}/NCMD/{a.name}", f"spBv1.0/{group}/DCMD/{a.name}/#", "spBv1.0/STATE/lms-cloud"):
            assert agent.subscribe(topic) == 1, topic
        assert agent.subscribe(f"spBv1.0/{group}/DCMD/{a.name}/+") == 1
        for topic in (
            "#",
            "+/#",
            "spBv1.0/#",
            "$SYS/#",
            f"spBv1.0/{group}/NCMD/{b.name}",
            f"spBv1.0/{group}/NCMD/+",
            f"spBv1.0/{group}/+/{a.name}",
            f"spBv1.0/{group}/DDATA/{a.name}/R1",
            "lms/live/#",
        ):
            assert agent.subscribe(topic) == REFUSED, topic


def test_feed_reads_everything_and_publishes_nothing(broker):
    with (
        logged_in(broker, "feed") as reader,
        logged_in(broker, "feed") as writer,
        logged_in(broker, "cloud-ingest") as cloud,
    ):
        assert reader.subscribe("spBv1.0/#") == 1
        assert reader.subscribe("lms/live/#") == 1
        writer.publish("spBv1.0/g/NBIRTH/n")
        writer.publish("lms/live/g/R1")
        cloud.publish("lms/live/g/R2")
        assert reader.heard.get(timeout=WAIT_S) == "lms/live/g/R2"
        assert reader.heard.empty()


def test_web_hears_commits_and_cannot_pose_as_the_ingest(broker):
    with logged_in(broker, "cloud-web") as web, logged_in(broker, "feed") as feed:
        assert web.subscribe("lms/live/#") == 1
        assert web.subscribe("spBv1.0/#") == REFUSED
        assert feed.subscribe("spBv1.0/#") == 1
        web.publish("spBv1.0/g/NCMD/n")
        web.publish("spBv1.0/STATE/lms-cloud")
        web.publish("spBv1.0/g/DCMD/n/R1")
        assert feed.heard.get(timeout=WAIT_S) == "spBv1.0/g/DCMD/n/R1"


def test_accounts_survive_a_restart(start_broker):
    from lms_firmware_sim.stand import broker_access

    broker = start_broker()
    added = broker.add(broker_access.agent("g", "late-agent", "its password"))
    broker.kill()
    broker.accounts.pop(added.name)
    broker.start()
    broker.accounts[added.name] = added
    with logged_in(broker, added.name) as agent:
        assert agent.subscribe("spBv1.0/g/NCMD/late-agent") == 1
