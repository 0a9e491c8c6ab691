"""Calibrations: overdue, in doubt, or their file not to be read."""

from lms_agent.calibration import store
from lms_agent.calibration.standing import Standing, standings
from lms_agent.calibration.store import StoreUnavailable
from lms_agent.doctor.finding import Finding, bad, good, note
from lms_agent.settings import AgentSettings

WHAT = "calibrations"


def calibrations(settings: AgentSettings, now_ms: int) -> list[Finding]:
    """One finding for each tag that is to be calibrated again, or a good one; none if nothing can be calibrated."""
    try:
        held = store.load(settings.agent.log)
    except StoreUnavailable as error:
        return [bad(WHAT, str(error), f"use an account of the agent's group, or `sudo`; else look at {error.path}")]
    found = standings(settings, held, now_ms)
    if not found:
        return []
    ill = [_ill(one) for one in found if one.overdue or one.in_doubt]
    made = sum(one.newest is not None for one in found)
    return ill or [good(WHAT, f"none overdue; {made} of {len(found)} that can be calibrated here were")]


def _ill(one: Standing) -> Finding:
    remedy = f"`lms-agent calibrate {one.able.point.tag}`"
    if one.in_doubt:
        return bad(WHAT, f"{one.name} is in doubt: {one.doubt}", remedy)
    return note(WHAT, f"{one.name} is overdue", remedy)
