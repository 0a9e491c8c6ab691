"""What the settings allow to be set.

Neighbours: `lms_agent.settings` has the keys; `lms_protocol.commands` compares.
"""

from collections.abc import Mapping

from lms_protocol.commands import Limits

from lms_agent.settings import AgentSettings


def limits_of(settings: AgentSettings) -> Mapping[tuple[str, str], Limits]:
    """The limits of every tag of an instrument, by bioreactor and tag."""
    return {
        (instrument.bioreactor, point.tag): Limits(
            datatype=point.datatype,
            writable=point.access == "write",
            low=point.set_range[0],
            high=point.set_range[1],
            largest_step=point.set_step,
            interval_ms=round(1000 * (point.set_interval_s or 0)),
        )
        for instrument in settings.instruments
        for point in instrument.points
    }
