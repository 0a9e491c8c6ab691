"""What may stand in the agent's TOML file: frozen, strict models, units in the names.

Neighbours: `loading.py` fills them from the file, `consistency.py` checks them against each other; `app.py`,
`sampling.py` and the command line read them.
"""

from typing import Annotated, Literal, Self, TypeAlias, cast
from urllib.parse import urlsplit

from lms_protocol.checked_toml.findings import STRICT, quoted, wrong
from lms_protocol.reading import TagDescription
from pydantic import AfterValidator, BaseModel, Field, model_validator

from lms_agent.log.limits.retention import DEFAULT_MAX_BYTES, MIN_BYTES, Limits
from lms_agent.settings.commanding import CommandsSection
from lms_agent.settings.companions import companion_tags, datatype_of, unfit_calibrations
from lms_agent.settings.derived import DerivedTag, Key, unfit_derived
from lms_agent.settings.dialects import InstrumentSettings
from lms_agent.settings.points import InstrumentPoint
from lms_agent.settings.value_types import FilePath, Id, TimeoutS


class AgentSection(BaseModel):
    """`[agent]`: who this agent is, where its log lies, and how large and old that may become."""

    model_config = STRICT

    id: Id
    group: Id
    log: FilePath
    log_max_bytes: int = Field(DEFAULT_MAX_BYTES, ge=MIN_BYTES)
    log_keep_days: float | None = Field(None, gt=0, le=36_500)
    log_when_full: Literal["keep", "drop_oldest"] = "keep"
    profiles: FilePath | None = None
    clock_wait_s: float = Field(60.0, ge=0, le=86_400)

    @property
    def log_limits(self) -> Limits:
        """The limits of the log."""
        return Limits(self.log_max_bytes, self.log_keep_days, self.log_when_full == "drop_oldest")


def _check_url(url: str) -> str:
    allowed = '"mqtt://host:port" or "mqtts://host:port", without account, password or path'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong(("", quoted(url), allowed)) from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == 0 or parts.path not in ("", "/"):
        raise wrong(("", quoted(url), allowed))
    if parts.username is not None or parts.query or parts.fragment:
        raise wrong(("", "a URL with more than host and port", allowed + " (they have keys of their own)"))
    return url


class BrokerSection(BaseModel):
    """`[broker]`: where readings go, and as whom."""

    model_config = STRICT

    url: Annotated[str, AfterValidator(_check_url)]
    account: str = Field(min_length=1, max_length=256)
    password_file: FilePath
    ca_file: FilePath | None = None
    primary_host: Id = "lms-cloud"

    @property
    def host(self) -> str:
        """The broker's host name or address."""
        return cast("str", urlsplit(self.url).hostname)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted (`mqtts://`)."""
        return self.url.startswith("mqtts:")

    @property
    def port(self) -> int:
        """The broker's port; 8883 with TLS and 1883 without, if none is given."""
        return urlsplit(self.url).port or (8883 if self.tls else 1883)

    def read_password(self) -> str:
        """The password, without the line end behind it.

        Raises:
            OSError: the file has gone since the configuration was checked.
        """
        return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")


class BioreactorSettings(BaseModel):
    """`[[bioreactor]]`: a vessel that this agent serves. `id` is its wire id, the Sparkplug device."""

    model_config = STRICT

    id: Id
    name: str = Field("", max_length=100)


class _SerialPort(BaseModel):
    model_config = STRICT

    id: Id
    port: str = Field(min_length=1)
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    data_bits: Literal[7, 8] = 8


class ModbusRtuBus(_SerialPort):
    """`[[bus]] kind = "modbus-rtu"`: a serial line with one or more Modbus slaves.

    After a timeout the line is left silent for `silence_s` (by default as long as `timeout_s`), so that a late reply
    can no longer be taken for the next one.
    """

    kind: Literal["modbus-rtu"]
    baud: int = Field(19200, ge=300, le=4_000_000)
    data_bits: Literal[8] = 8
    timeout_s: TimeoutS = 0.3
    silence_s: TimeoutS | None = None


class ModbusTcpBus(BaseModel):
    """`[[bus]] kind = "modbus-tcp"`: one Modbus TCP endpoint, with one or more units behind it.

    `zero_transactions` is for careless instruments, which number every reply 0.
    """

    model_config = STRICT

    kind: Literal["modbus-tcp"]
    id: Id
    host: str = Field(min_length=1, max_length=253)
    port: int = Field(502, ge=1, le=65535)
    timeout_s: TimeoutS = 1.0
    zero_transactions: bool = False


class SerialBus(_SerialPort):
    """`[[bus]] kind = "serial"`: a serial line with instruments that talk in lines of text."""

    kind: Literal["serial"]
    baud: int = Field(9600, ge=300, le=4_000_000)
    timeout_s: TimeoutS = 1.0
    silence_s: TimeoutS | None = None


BusSettings: TypeAlias = Annotated[ModbusRtuBus | ModbusTcpBus | SerialBus, Field(discriminator="kind")]


class AgentSettings(BaseModel):
    """The whole file."""

    model_config = STRICT

    agent: AgentSection
    broker: BrokerSection
    commands: CommandsSection = CommandsSection()
    bioreactors: Annotated[tuple[BioreactorSettings, ...], Field(strict=False, alias="bioreactor", min_length=1)]
    buses: Annotated[tuple[BusSettings, ...], Field(strict=False, alias="bus", min_length=1)]
    instruments: Annotated[tuple[InstrumentSettings, ...], Field(strict=False, alias="instrument", min_length=1)]
    derived: Annotated[tuple[DerivedTag, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _tags_make_sense(self) -> Self:
        places = [
            ((instrument.bioreactor, point.tag), (f"instrument.{index}.point.{at}", point))
            for index, instrument in enumerate(self.instruments)
            for at, point in enumerate(instrument.points)
        ]
        measured = {key: point.datatype for key, (_, point) in places}
        for key, (_, point) in places:
            measured |= {(tag.device, tag.name): tag.datatype for tag in companion_tags(key[0], point)}
        findings = (*unfit_calibrations(places), *unfit_derived(self.derived, measured, self.periods_s()))
        if findings:
            raise wrong(*findings)
        return self

    def instruments_on(self, bus_id: str) -> tuple[InstrumentSettings, ...]:
        """The instruments of one bus, in the order of the file."""
        return tuple(instrument for instrument in self.instruments if instrument.bus == bus_id)

    def periods_s(self) -> dict[Key, float]:
        """How often each tag that an instrument gives is read, by bioreactor and name: from scan to scan."""
        periods_s = {}
        for key, point, period_s in self.measured():
            tags = [key, *((tag.device, tag.name) for tag in companion_tags(key[0], point))]
            periods_s.update(dict.fromkeys(tags, period_s))
        return periods_s

    def measured(self) -> list[tuple[Key, InstrumentPoint, float]]:
        """Every point of every instrument with its tag's bioreactor and name, and how often it is read, s."""
        return [
            ((instrument.bioreactor, point.tag), point, instrument.period_s)
            for instrument in self.instruments
            for point in instrument.points
        ]

    def tag_descriptions(self) -> list[TagDescription]:
        """Every tag of every bioreactor, in the order of the file, numbered 0: the log gives the true numbers."""
        measured = [(bioreactor, point) for (bioreactor, _), point, _ in self.measured()]
        derived = [(each.bioreactor, each) for each in self.derived]
        described = [
            TagDescription(
                number=0,
                device=bioreactor,
                name=point.tag,
                datatype=datatype_of(point),
                unit=point.unit,
                low=point.low,
                high=point.high,
                decimals=point.decimals,
                access=point.access,
            )
            for bioreactor, point in [*measured, *derived]
        ]
        return described + [tag for bioreactor, point in measured for tag in companion_tags(bioreactor, point)]
