"""The demo: the whole system on one machine, made up at its first start and going on with its data ever after.

Order of the start: PostgreSQL and broker; the simulated plant; the cloud's tables and what exists in them, and history
into the agents' logs; ingest and web; agents. Stopped in the opposite order.
"""

import json
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

from lms_firmware_sim.stand import (
    broker_access,
    broker_programs,
    cloud_side,
    outside,
    ports,
    postgres_programs,
    quarters,
)
from lms_firmware_sim.stand.agent_side import AgentSide
from lms_firmware_sim.stand.broker import Broker
from lms_firmware_sim.stand.cloud_side import AGENTS, CloudSide
from lms_firmware_sim.stand.errors import ServiceFailedError
from lms_firmware_sim.stand.keeper import LOOK_EVERY_S, Keeper, Program, Say
from lms_firmware_sim.stand.layout import Layout, write_description, write_private
from lms_firmware_sim.stand.outside import BrokerAccess
from lms_firmware_sim.stand.plant_side import PlantSide
from lms_firmware_sim.stand.postgres import PostgresServer
from lms_firmware_sim.stand.programs import plain_environment, program

PORTS = {"web": 8080, "broker": 18830, "postgresql": 15432, "str-1": 15021, "str-3": 15023}
"""What each is served on where free. Below 32768, so that no outgoing connection can take them meanwhile."""
HISTORY_PERIOD_S = 5.0
READY_WITHIN_S = 90.0
DATABASE = "lms"
OWNER = "lms_owner"


class Demo:
    """One demo in one folder.

    Args:
        layout: its folder.
        tools: where fetched programs lie.
        environment: where LMS_DATABASE_URL and LMS_MQTT_URL may name others' servers.
        history_h: hours of history that it has at its first start.
        say: told what happens, in sentences.
    """

    def __init__(
        self, layout: Layout, tools: Path, environment: Mapping[str, str], *, history_h: float, say: Say
    ) -> None:
        self._layout = layout
        self._history_h = history_h
        self._tools = tools
        self._say = say
        self._given_database = outside.database_url(environment)
        self._given_broker = outside.broker(environment)
        self._keeper = Keeper(say, self._describe)
        self._ports: dict[str, int] = {}
        self._reservations: list[socket.socket] = []
        self._owner_url = ""
        self._looking_url = ""
        self._feed_url = ""
        self._ready = False

    @property
    def url(self) -> str:
        """Where the demo is looked at."""
        return f"http://{ports.LOOPBACK}:{self._ports['web']}"

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run now."""
        return {"demo": os.getpid(), **self._keeper.pids()}

    def start(self) -> None:
        """Start everything; return when the demo can be looked at.

        Raises:
            StandError: something could not be started; ``stop`` ends what was.
        """
        self._layout.description.unlink(missing_ok=True)  # left behind where the last demo was killed
        self._choose_ports()
        if self._given_database is None:
            self._start_postgres()
        else:
            self._owner_url = self._looking_url = self._given_database
        accounts = self._accounts()
        cloud = CloudSide(self._layout, self._owner_url)
        plant = PlantSide(self._layout, self._ports)
        plant.configure()
        agents = [AgentSide(self._layout, agent) for agent in AGENTS]
        for agent in agents:
            agent.configure(accounts[agent.agent], {**plant.facts(), **_names()})
        said_before = self._start_plant(plant, accounts.get("simulator"))
        with ThreadPoolExecutor() as pool:
            # The longest part of a first start, beside the second longest.
            history = self._fill_with_history(pool, plant, agents)
            self._prepare_cloud(cloud)
            for filled in history:
                filled.result()
        log_path = self._layout.log("simulator")
        plant.wait_until_ready(log_path, said_before, lambda: "simulator" in self._keeper.pids())
        self._say("Three simulated bioreactors run")
        for name, purpose, command in (("ingest", "ingest", "ingest"), ("web", "web", "serve")):
            environment = cloud.environment(purpose, accounts[f"cloud-{purpose}"], port=self._ports["web"])
            self._start_program(name, [*program("lms-cloud"), command], environment)
        for agent in agents:
            self._start_program(agent.agent, agent.command(), plain_environment())
        self._wait_until_ready()
        self._ready = True
        self._describe()

    def stop(self) -> None:
        """Stop all, the last started first."""
        self._keeper.stop()
        for reservation in self._reservations:
            reservation.close()
        self._layout.description.unlink(missing_ok=True)

    @property
    def keeper(self) -> Keeper:
        """What keeps the demo's processes running."""
        return self._keeper

    def login(self) -> tuple[str, str]:
        """E-mail and password of the demo's user."""
        return cloud_side.EMAIL, self._layout.password("demo-user")

    def _choose_ports(self) -> None:
        """The ports of the last start where they are free, else others; all written down for the next start."""
        remembered = json.loads(self._layout.ports.read_text()) if self._layout.ports.exists() else {}
        named = {"postgresql": self._given_database, "broker": self._given_broker}
        for name, usual in PORTS.items():
            if named.get(name) is not None:
                continue
            wanted = int(remembered.get(name, usual))
            chosen, reservation = ports.reserve_near(wanted)
            self._reservations.append(reservation)
            if chosen != wanted:
                holder = ports.holder(wanted) or "another demo or program"
                self._say(f"Port {wanted}, wanted for {name}, is taken by {holder}; using {chosen}")
            self._ports[name] = chosen
        write_private(self._layout.ports, json.dumps({**remembered, **self._ports}, indent=2))

    def _start_postgres(self) -> None:
        server = PostgresServer(
            self._layout.root / "postgres",
            postgres_programs.from_package(),
            password=self._layout.secret("postgres"),
            log_path=self._layout.log("postgresql"),
            port=self._ports["postgresql"],
        )
        self._keeper.start("postgresql", server)
        self._say(f"PostgreSQL runs on {ports.LOOPBACK}:{server.port}")
        self._owner_url = server.ensure_owner(
            DATABASE, name=OWNER, password=self._layout.secret("database-owner-password")
        )
        # Row security hides every organization's rows from the owner too; who looks with psql wants to see them.
        self._looking_url = server.url(DATABASE)

    def _accounts(self) -> dict[str, BrokerAccess]:
        """How each program reaches the broker, ours started here unless another was named."""
        if self._given_broker is not None:
            self._feed_url = self._given_broker.full_url
            self._say(f"Using the broker {self._given_broker.address} as {self._given_broker.account}")
            return dict.fromkeys([*AGENTS, "cloud-ingest", "cloud-web"], self._given_broker)
        secret = self._layout.secret
        accounts = [
            broker_access.admin(secret("broker-admin")),
            broker_access.cloud_ingest(secret("broker-cloud-ingest"), host=cloud_side.HOST_ID),
            broker_access.cloud_web(secret("broker-cloud-web")),
            broker_access.feed(secret("broker-feed")),
            broker_access.simulator(secret("broker-simulator")),
            *(broker_access.agent(cloud_side.GROUP, agent, secret(f"broker-{agent}")) for agent in AGENTS),
        ]
        program_found = broker_programs.find(self._tools, self._say)
        broker = Broker(
            self._layout.root / "broker",
            program_found,
            accounts,
            log_path=self._layout.log("broker"),
            port=self._ports["broker"],
        )
        self._keeper.start("broker", broker)
        self._say(f"The MQTT broker runs on {broker.host}:{broker.port}")
        self._feed_url = broker.url("feed")
        address = f"mqtt://{broker.host}:{broker.port}"
        return {account.name: BrokerAccess(address, account.name, account.password) for account in accounts}

    def _prepare_cloud(self, cloud: CloudSide) -> None:
        self._say("Bringing the database's tables up to date")
        cloud.migrate()
        made = self._layout.root / "populated"
        if not made.exists():
            self._say("Making the organization, its user, agents and bioreactors")
            cloud.populate()
            made.touch()

    def _start_plant(self, plant: PlantSide, access: BrokerAccess | None) -> int:
        """Start the simulator; give the size that its log had before, in bytes."""
        log_path = self._layout.log("simulator")
        said_before = log_path.stat().st_size if log_path.exists() else 0
        self._start_program("simulator", plant.command(access), plain_environment())
        return said_before

    def _fill_with_history(self, pool: Executor, plant: PlantSide, agents: list[AgentSide]) -> list[Future[None]]:
        """Begin to fill the logs that were never filled."""
        empty = [agent for agent in agents if not agent.has_history]
        if not empty:
            return []
        names = " and ".join(agent.agent for agent in empty)
        self._say(f"Filling the log of {names} with {self._history_h:g} hours of history")

        def fill(agent: AgentSide) -> None:
            agent.forget_log()
            wanted = AGENTS[agent.agent]
            past = {each: plant.history(each, hours=self._history_h, period_s=HISTORY_PERIOD_S) for each in wanted}
            agent.import_history(past)

        return [pool.submit(fill, agent) for agent in empty]

    def _start_program(self, name: str, argv: list[str | Path], environment: Mapping[str, str]) -> None:
        log_path = self._layout.log(name)
        self._keeper.start(name, Program(argv, env=environment, log_path=log_path, cwd=self._layout.root))

    def _wait_until_ready(self) -> None:
        self._say(f"Waiting for {self.url}")
        deadline = time.monotonic() + READY_WITHIN_S
        reason = "no answer"
        while time.monotonic() < deadline:
            self._keeper.look()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):  # noqa: S310  our own http address
                    if "web" in self._keeper.pids():
                        return
            except urllib.error.HTTPError as error:
                reason = f"{error.code}: {error.read(500).decode(errors='replace')}"
                error.close()
            except OSError as error:
                reason = str(error)
            time.sleep(LOOK_EVERY_S)
        raise ServiceFailedError(
            "The web server", f"was not ready within {READY_WITHIN_S:.0f} s ({reason})", self._layout.log("web")
        )

    def _describe(self) -> None:
        """Write demo.json, for programs that want to look at the demo; not before there is something to look at."""
        if not self._ready:
            return
        email, password = self.login()
        write_description(
            self._layout.description,
            {
                "url": self.url,
                "email": email,
                "password": password,
                "mqtt_url": self._feed_url,
                "database_url": self._looking_url,
                "pids": self.pids,
            },
        )


def reset(layout: Layout) -> None:
    """Forget the demo: its data, its secrets, its logs.

    Raises:
        DemoRunningError: it runs.
    """
    if not layout.root.exists():
        return
    descriptor = layout.hold()
    try:
        for service in ("postgres", "broker"):
            quarters.remove(layout.root / service)
        shutil.rmtree(layout.root)
    finally:
        os.close(descriptor)


def _names() -> dict[str, str]:
    return {"group": cloud_side.GROUP, "primary_host": cloud_side.HOST_ID}
