"""What the demo takes from outside: another database, another broker. Both come from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from lms_firmware_sim.stand.errors import SettingRefusedError

DATABASE = "LMS_DATABASE_URL"
BROKER = "LMS_MQTT_URL"
DEFAULT_MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class BrokerAccess:
    """How one program reaches the broker.

    Attributes:
        address: ``mqtt://host:port``, without account.
        account: its user name.
        password: its password.
    """

    address: str
    account: str
    password: str

    @property
    def url_with_account(self) -> str:
        """``mqtt://account@host:port``; the password goes another way."""
        return self.address.replace("://", f"://{quote(self.account, safe='')}@", 1)

    @property
    def full_url(self) -> str:
        """``mqtt://account:password@host:port``, percent-encoded."""
        login = f"{quote(self.account, safe='')}:{quote(self.password, safe='')}"
        return self.address.replace("://", f"://{login}@", 1)


def database_url(environment: Mapping[str, str]) -> str | None:
    """The URL of another PostgreSQL, as the owner of the demo's database; None: start our own.

    Raises:
        SettingRefusedError: it is no PostgreSQL URL with user and database.
    """
    url = environment.get(DATABASE)
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.username or parts.path in ("", "/"):
        raise SettingRefusedError(DATABASE, "must be postgresql://user:password@host:port/database")
    return url


def broker(environment: Mapping[str, str]) -> BrokerAccess | None:
    """Another broker that runs already, with the one account that everything uses there; None: start our own.

    Raises:
        SettingRefusedError: it is no MQTT URL, or it has no account.
    """
    url = environment.get(BROKER)
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_MQTT_PORTS or not parts.hostname:
        raise SettingRefusedError(BROKER, "must be mqtt://account:password@host:port (or mqtts://…)")
    if not parts.username or not parts.password:
        raise SettingRefusedError(BROKER, "has no account and password; LMS evo uses no broker anonymously")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    address = f"{parts.scheme}://{host}:{parts.port or DEFAULT_MQTT_PORTS[parts.scheme]}"
    return BrokerAccess(address, unquote(parts.username), unquote(parts.password))


def as_user(url: str, user: str, password: str) -> str:
    """The same database for another user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"))
