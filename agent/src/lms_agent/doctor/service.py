"""The service: whether systemd knows it, and whether it runs."""

from collections.abc import Mapping
from typing import Any

from lms_agent.doctor.finding import Finding, bad, good, note
from lms_agent.installing.systemd import UNIT, Unit, ask


def service(agent_pid: int | None, status: Mapping[str, Any] | None) -> Finding:
    """How the agent runs, if it does.

    Args:
        agent_pid: the process that writes the log of this configuration.
        status: what it says of itself.
    """
    return judged(ask(), agent_pid, status)


def judged(unit: Unit | None, agent_pid: int | None, status: Mapping[str, Any] | None) -> Finding:
    """The same of a unit that was asked for already; None: there is no systemd."""
    if agent_pid is not None and (unit is None or unit.main_pid != agent_pid):
        how = "by hand, not by systemd" if unit is not None else "without systemd"
        return note("service", f"the agent runs as process {agent_pid}, {how}: nothing starts it after the next boot")
    if unit is None:
        return note("service", "this computer has no systemd; the agent does not run", "`lms-agent run` starts it")
    if not unit.is_known:
        return note("service", f"systemd does not know {UNIT}", "`sudo lms-agent service install`")
    if unit.active == "failed" or (unit.active == "activating" and unit.restarts):
        remedy = f"`journalctl -u {UNIT} -n 20` says why; then `sudo systemctl restart {UNIT}`"
        return bad("service", f"{UNIT} failed ({unit.result}), started again {unit.restarts} times", remedy)
    if unit.active != "active":
        return bad("service", f"{UNIT} does not run ({unit.active})", f"`sudo systemctl enable --now {UNIT}`")
    if not unit.starts_at_boot:
        return note("service", f"{UNIT} runs, but does not start at boot", f"`sudo systemctl enable {UNIT}`")
    return good("service", f"{UNIT} runs{f' (process {unit.main_pid})' if unit.main_pid else ''} and starts at boot")
