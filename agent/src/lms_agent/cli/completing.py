"""What Tab offers for the values of options and arguments: tags, bioreactors, instruments, ports.

Whatever goes wrong, nothing is offered: a shell is no place for an error.
"""

import os
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import typer

Offer = Callable[[typer.Context, str], list[str]]


def _silently(offers: Callable[[dict[str, Any]], Iterator[str]]) -> Offer:
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        try:
            return sorted({offer for offer in offers(context.params) if offer.startswith(incomplete)})
        except Exception:
            return []

    return complete


def _config(params: dict[str, Any]) -> Path:
    named = params.get("config_option") or params.get("config") or os.environ.get("LMS_AGENT_CONFIG")
    return Path(named or "/etc/lms-evo/agent.toml")


def _document(params: dict[str, Any]) -> dict[str, Any]:
    return tomllib.loads(_config(params).read_text(encoding="utf-8"))


def _log(params: dict[str, Any]) -> Path:
    if params.get("log"):
        return Path(params["log"])
    return _config(params).absolute().parent / Path(str(_document(params)["agent"]["log"])).expanduser()


def _tags(params: dict[str, Any], *, settable: bool = False) -> Iterator[str]:
    from lms_protocol.reading import NOT_FOR_SCREENS  # noqa: PLC0415

    from lms_agent.log.reader import LogReader  # noqa: PLC0415 - only where a tag is to be completed

    with LogReader.open(_log(params)) as reader:
        for tag in reader.tags():
            if not tag.name.startswith(NOT_FOR_SCREENS) and (tag.access == "write" or not settable):
                yield tag.name


def _bioreactors(params: dict[str, Any]) -> Iterator[str]:
    yield from (str(table["id"]) for table in _document(params)["bioreactor"])


def _instruments(params: dict[str, Any]) -> Iterator[str]:
    yield from (str(table["id"]) for table in _document(params)["instrument"])


def _ports(_: dict[str, Any]) -> Iterator[str]:
    from lms_agent.buses.present import present_ports  # noqa: PLC0415 - only where a port is to be completed

    yield from (port.port for port in present_ports())


def _profiles(params: dict[str, Any]) -> Iterator[str]:
    from lms_protocol.instruments.catalogue import Catalogue  # noqa: PLC0415 - only where a profile is to be completed

    yield from Catalogue(params.get("folder")).entries


tags, bioreactors, instruments, ports, profiles = map(_silently, (_tags, _bioreactors, _instruments, _ports, _profiles))
settable_tags = _silently(partial(_tags, settable=True))
