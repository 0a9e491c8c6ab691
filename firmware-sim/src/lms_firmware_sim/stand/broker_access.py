"""Who may do what on the broker, as the configuration of mosquitto's dynamic-security plugin.

Every account has a role of its own. What no rule allows is refused: publishing, and subscribing.

| account      | publishes                                               | subscribes                        |
|--------------|---------------------------------------------------------|-----------------------------------|
| an agent     | its own NBIRTH NDATA NDEATH, DBIRTH DDATA DDEATH        | its own NCMD and DCMD, STATE      |
| cloud-ingest | NCMD, DCMD, STATE of its host id, lms/live              | spBv1.0/#                         |
| cloud-web    | DCMD                                                    | lms/live/#                        |
| feed         | nothing                                                 | spBv1.0/#, lms/live/#             |
| simulator    | lms/sim/#                                               | lms/sim/+/command                 |
| admin        | the plugin's control topic                              | its answers                       |

Source: mosquitto 2.0, plugins/dynamic-security (passwords: PBKDF2 with SHA-512, 64 bytes, salt of 12 bytes).
"""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ITERATIONS = 101
"""As the plugin's own. Passwords are drawn at random, 96 bits and more: nothing can be guessed that stretching would
slow down. The broker checks one after another in its only thread, so that 20,000 (8 ms each) made it deaf for many
seconds when a thousand agents came back at once."""
CONTROL = "$CONTROL/dynamic-security"
CONTROL_TOPIC = f"{CONTROL}/v1"
ADMIN = "admin"


@dataclass(frozen=True)
class Account:
    """One account of the broker and its access list.

    Attributes:
        name: the user name.
        password: its password.
        publishes: topics (with wildcards) that it may publish on.
        subscribes: topic filters that it may subscribe to, or to narrower ones.
    """

    name: str
    password: str
    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()


def agent(group: str, node: str, password: str, *, host: str = "+") -> Account:
    """The account of an agent: it publishes as itself only, and hears only what is meant for it."""
    of_node = tuple(f"spBv1.0/{group}/{kind}/{node}" for kind in ("NBIRTH", "NDATA", "NDEATH"))
    of_devices = tuple(f"spBv1.0/{group}/{kind}/{node}/+" for kind in ("DBIRTH", "DDATA", "DDEATH"))
    heard = (f"spBv1.0/{group}/NCMD/{node}", f"spBv1.0/{group}/DCMD/{node}/#", f"spBv1.0/STATE/{host}")
    return Account(node, password, of_node + of_devices, heard)


def cloud_ingest(password: str, *, host: str = "lms-cloud") -> Account:
    """The account of ``lms-cloud ingest``, the Sparkplug host application."""
    publishes = ("spBv1.0/+/NCMD/+", "spBv1.0/+/DCMD/+/+", f"spBv1.0/STATE/{host}", "lms/live/#")
    return Account("cloud-ingest", password, publishes, ("spBv1.0/#",))


def cloud_web(password: str) -> Account:
    """The account of ``lms-cloud serve``."""
    return Account("cloud-web", password, ("spBv1.0/+/DCMD/+/+",), ("lms/live/#",))


def feed(password: str) -> Account:
    """An account for other programs: it reads the whole feed and publishes nothing."""
    return Account("feed", password, (), ("spBv1.0/#", "lms/live/#"))


def simulator(password: str) -> Account:
    """The account of the simulator's remote control."""
    return Account("simulator", password, ("lms/sim/#",), ("lms/sim/+/command",))


def admin(password: str) -> Account:
    """The account that adds and removes accounts while the broker runs."""
    return Account(ADMIN, password, (f"{CONTROL}/#",), (f"{CONTROL}/#",))


def role(account: Account) -> dict[str, Any]:
    """The plugin's role for ``account``."""
    rules = [_rule("publishClientSend", topic) for topic in account.publishes]
    rules += [_rule("publishClientReceive", topic) for topic in account.subscribes]
    rules += [_rule("subscribePattern", topic) for topic in account.subscribes]
    return {"rolename": _role_name(account), "acls": rules}


def client(account: Account) -> dict[str, Any]:
    """The plugin's client for ``account``, with its password hashed."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", account.password.encode(), salt, ITERATIONS, 64)
    return {
        "username": account.name,
        "roles": [{"rolename": _role_name(account)}],
        "password": base64.b64encode(digest).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": ITERATIONS,
    }


def configuration(accounts: Sequence[Account], kept: str | None = None) -> str:
    """The plugin's file: ``accounts`` as given, and every other client and role of the ``kept`` file unchanged."""
    old: dict[str, Any] = json.loads(kept) if kept else {}
    names = {account.name for account in accounts}
    roles = {_role_name(account) for account in accounts}
    clients = [entry for entry in old.get("clients", []) if entry["username"] not in names]
    other_roles = [entry for entry in old.get("roles", []) if entry["rolename"] not in roles]
    return json.dumps(
        {
            "defaultACLAccess": {
                "publishClientSend": False,
                "publishClientReceive": False,
                "subscribe": False,
                "unsubscribe": True,
            },
            "clients": [*clients, *(client(account) for account in accounts)],
            "groups": old.get("groups", []),
            "roles": [*other_roles, *(role(account) for account in accounts)],
        },
        indent=1,
    )


def creation(account: Account) -> dict[str, Any]:
    """The commands, for the plugin's control topic, that make ``account`` on a running broker."""
    return {
        "commands": [
            {"command": "createRole", **role(account)},
            {
                "command": "createClient",
                "username": account.name,
                "password": account.password,
                "roles": [{"rolename": _role_name(account)}],
            },
        ]
    }


def _rule(kind: str, topic: str) -> dict[str, Any]:
    return {"acltype": kind, "topic": topic, "priority": 0, "allow": True}


def _role_name(account: Account) -> str:
    return f"{account.name}-role"
