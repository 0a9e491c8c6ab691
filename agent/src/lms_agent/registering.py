"""Give every configured tag its number in the log.

Besides the tags of the instruments each bioreactor has those of acknowledged delivery and, if anything of it can be
set or is calibrated, those that tell of commands and of calibrations.

Neighbours: `lms_agent.settings` names tags, `lms_agent.log` numbers them; `lms_agent.app` and `lms-agent log import`
ask for it.
"""

from lms_protocol.commands import EVENT_TAG
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Datatype, TagDescription

from lms_agent.calibration.record import EVENT_TAG as CALIBRATION_TAG
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.settings import AgentSettings


def register(log: SqliteLog, settings: AgentSettings) -> list[TagDescription]:
    """Number all tags of the settings, and the sync tags of every bioreactor. Writes the disk.

    Raises:
        LogUnavailable: the disk refuses.
    """
    sync = [
        TagDescription(number=0, device=bioreactor.id, name=name, datatype=datatype)
        for bioreactor in settings.bioreactors
        for name, datatype in SYNC_TAGS.items()
    ]
    tags = settings.tag_descriptions()
    settable = dict.fromkeys(tag.device for tag in tags if tag.access == "write")
    calibrated = dict.fromkeys(device for (device, _), point, _ in settings.measured() if point.calibration is not None)
    told = [*((device, EVENT_TAG) for device in settable), *((device, CALIBRATION_TAG) for device in calibrated)]
    events = [TagDescription(0, device, name, Datatype.STRING) for device, name in told]
    return log.register_tags([*tags, *events, *sync])


def to_be_born(
    log: SqliteLog, configured: list[TagDescription], *, others_may_come: bool = False
) -> list[TagDescription]:
    """The tags that the births must name: those configured and, while old batches wait, those that these may hold.

    Reads the disk.

    Args:
        others_may_come: whether scans of earlier settings may still be on their way into the log.
    """
    if log.acked >= log.head and not others_may_come:
        return configured
    numbers = {tag.number for tag in configured}
    return configured + [tag for tag in log.tags() if tag.number not in numbers]
