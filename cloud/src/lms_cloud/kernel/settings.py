"""The cloud's settings: environment variables with the prefix LMS_, read once at start and passed down.

Each secret may come from a file instead: LMS_SECRET_KEY_FILE names a file that holds what LMS_SECRET_KEY would.
No secret has a default, and a missing, short or example secret keeps the program from starting.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from lms_cloud.kernel.errors import SettingsError
from lms_cloud.kernel.wire_ids import WireId

PREFIX = "LMS_"
MIN_SECRET_LENGTH = 32
_EXAMPLE_WORDS = (
    "changeme",
    "change-me",
    "change_me",
    "example",
    "secret",
    "password",
    "placeholder",
    "xxxx",
    "insecure",
)
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class ListenAddress(BaseModel):
    """Where the web server listens."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int = Field(ge=0, le=65535)


class CloudSettings(BaseModel):
    """Everything that a deployment of the cloud can set. Frozen; build it with `load_settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: SecretStr = Field(description="PostgreSQL, as postgresql://user:password@host:port/database.")
    database_pool_size: int = Field(10, ge=1, le=200, description="Most database connections that one process opens.")
    secret_key: SecretStr | None = Field(
        None,
        description="Signs access tokens and form tokens; at least 32 characters. `serve` needs it, `ingest` does not.",
    )
    mqtt_url: str | None = Field(None, description="Broker, as mqtt://account@host:port or mqtts://account@host:port.")
    mqtt_password: SecretStr | None = Field(None, description="Password of the account in LMS_MQTT_URL.")
    mqtt_ca_file: Path | None = Field(None, description="Certificate authority of the broker, where not the system's.")
    public_url: str = Field("http://127.0.0.1:8080", description="The address that people type; https in production.")
    listen: ListenAddress = Field(ListenAddress(host="127.0.0.1", port=8080), description="host:port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Web server processes.")
    trusted_proxies: str = Field(
        "", description="Addresses whose X-Forwarded-For is believed, by commas; none if empty."
    )
    host_id: WireId = Field("lms-cloud", description="This Sparkplug host's id, on spBv1.0/STATE/{host_id}.")
    ingest_lease_s: float = Field(
        15,
        ge=3,
        le=300,
        description="Seconds without a sign of life after which an ingest worker's groups are taken over.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )
    session_idle_h: float = Field(12, gt=0, le=720, description="Hours without a request that end a session.")
    session_absolute_h: float = Field(24, gt=0, le=720, description="Hours after login that end a session.")
    session_remembered_h: float = Field(720, gt=0, le=2160, description="The same two with 'remember me'.")
    access_token_s: int = Field(900, ge=60, le=3600, description="Seconds that an access token (JWT) is valid.")
    keep_raw_days: int | None = Field(None, ge=30, description="Days that readings are kept; for ever if not set.")
    keep_1m_days: int | None = Field(
        None, ge=30, description="Days that 1-minute rollups are kept, not shorter than readings; for ever if not set."
    )
    keep_1h_days: int | None = Field(
        None,
        ge=30,
        description="Days that 1-hour rollups are kept, not shorter than 1-minute ones; for ever if not set.",
    )
    max_request_bytes: int = Field(1_000_000, ge=1_000, description="Largest request body that is accepted.")

    @field_validator("listen", mode="before")
    @classmethod
    def _split_address(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError("must be host:port, such as 127.0.0.1:8080")
        return {"host": host.strip("[]"), "port": int(port)}

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be http://host[:port] or https://host[:port]")
        if parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS:
            raise ValueError("must be https, except on 127.0.0.1 and localhost")
        return f"{parts.scheme}://{parts.netloc}"

    @field_validator("keep_1m_days", "keep_1h_days")
    @classmethod
    def _check_keeping(cls, value: int | None, info: ValidationInfo) -> int | None:
        shorter = {"keep_1m_days": "keep_raw_days", "keep_1h_days": "keep_1m_days"}[str(info.field_name)]
        kept = info.data.get(shorter)
        if value is not None and (kept is None or value < kept):
            name = PREFIX + shorter.upper()
            raise ValueError(f"must not be shorter than {name} ({'for ever' if kept is None else f'{kept} days'})")
        return value

    @property
    def is_https(self) -> bool:
        """Whether people reach the cloud over TLS."""
        return self.public_url.startswith("https://")

    def require_secret_key(self) -> str:
        """The secret key, checked.

        Raises:
            SettingsError: it is missing, shorter than 32 characters, or an example.
        """
        remedy = "Set it to a random one, made by: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        if self.secret_key is None:
            raise SettingsError("LMS_SECRET_KEY", "is missing", remedy)
        secret = self.secret_key.get_secret_value()
        if len(secret) < MIN_SECRET_LENGTH:
            raise SettingsError("LMS_SECRET_KEY", f"has {len(secret)} characters, at least 32 are needed", remedy)
        plain = secret.casefold()
        if len(set(secret)) < 12 or any(word in plain for word in _EXAMPLE_WORDS):
            raise SettingsError("LMS_SECRET_KEY", "is an example or far too regular", remedy)
        return secret


def load_settings(environment: Mapping[str, str] | None = None) -> CloudSettings:
    """Read the settings from `environment` (the process's own by default).

    Raises:
        SettingsError: a variable is missing or wrong; names the variable and the remedy.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for name in CloudSettings.model_fields:
        text = _read(name, environment)
        if text:
            values[name] = text
    try:
        return CloudSettings(**values)
    except ValidationError as error:
        raise _explain(error) from error


def _read(name: str, environment: Mapping[str, str]) -> str:
    variable = PREFIX + name.upper()
    text = environment.get(variable, "")
    file = environment.get(variable + "_FILE", "")
    if not file:
        return text
    if text:
        raise SettingsError(variable, f"and {variable}_FILE are both set", "Keep one of them.")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"names {file!r}, which cannot be read ({error})"
        raise SettingsError(variable + "_FILE", reason, "Check the path and who may read it.") from error


def _explain(error: ValidationError) -> SettingsError:
    first = error.errors(include_input=False)[0]
    name = str(first["loc"][0])
    variable = PREFIX + name.upper()
    field = CloudSettings.model_fields[name]
    if first["type"] == "missing":
        return SettingsError(variable, "is missing", f"Set it. {field.description}")
    message = first["msg"].removeprefix("Value error, ")
    return SettingsError(variable, f"cannot be used: {message}", f"It is: {field.description}")
