"""What the time without an agent leaves behind: intervals without readings, each of which gets its gap record.

A gap that was open when the agent ended stays open over the restart: sampling takes it over and closes it with the
first good reading. A tag that was well until then gets a gap from its last reading in the log to its first new one;
where the log was removed meanwhile, from the moment when the agent last said that it lives.

Neighbours: `lms_agent.log.keeping` asks with each scan; the log's newest readings and open gaps say what was before.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from lms_protocol.reading import NOT_RUNNING, Gap, Reading

from lms_agent.log.sqlite_log import SqliteLog

LOG_GONE = f"{NOT_RUNNING}, and its log is gone"
TAKING_OVER = "new settings were being taken over"
TOGETHER_MS = 100
"""Tags whose last readings, and whose first new ones, lie no further apart share one gap: the blocks of an instrument,
or quick instruments of a line, need not tell it each. It lasts as long as all of them are silent, so that no reading
lies within it: what is reported by exception was read last at other times than what is not."""
NOT_CONFIGURED = "the settings have changed and nobody reads these tags together any more"


class Absence:
    """Says, once for each tag, from when to when nothing was read before its first reading.

    Args:
        log: just opened.
        groups: numbers of the tags that are read now, one group for each instrument.
        reason: why nothing was read before.
        bearable_ms: by tag, how far apart two readings may lie without a scan missing between them; for tags that were
            read until just now.
        gone_since_ms: until when there was another log, ms UTC, for tags of which this one knows nothing; None if there
            was none.
    """

    def __init__(
        self,
        log: SqliteLog,
        groups: Iterable[Collection[int]],
        *,
        reason: str = NOT_RUNNING,
        bearable_ms: Mapping[int, float] | None = None,
        gone_since_ms: int | None = None,
    ) -> None:
        self._log = log
        self._bearable_ms = bearable_ms or {}
        instruments = [frozenset(group) for group in groups]
        latest = log.latest()
        self._reason = reason if gone_since_ms is None or latest else LOG_GONE
        # In memory times are those that scans bear; the log may have corrected its own since the agent started.
        gaps = [(device, gap._replace(began_at_ms=log.stamp_of(gap.began_at_ms))) for device, gap in log.open_gaps()]
        self._open = [entry for entry in gaps if any(tags.issuperset(entry[1].tags) for tags in instruments)]
        self._orphans = [entry for entry in gaps if entry not in self._open]
        covered = {tag for _, gap in self._open for tag in gap.tags}
        read = frozenset().union(*instruments) - covered
        last_ms = {tag: latest[tag].taken_at_ms if tag in latest else gone_since_ms for tag in read}
        self._last = {tag: log.stamp_of(at_ms) for tag, at_ms in last_ms.items() if at_ms is not None}

    @property
    def open_gaps(self) -> list[Gap]:
        """The open gaps that sampling is to take over."""
        return [gap for _, gap in self._open]

    def orphans(self, now_ms: int) -> list[tuple[str, Gap]]:
        """Return the ends of those open gaps that no instrument of the settings can close, each with its device."""
        ended = [(device, gap) for device, gap in self._orphans]
        self._orphans = []
        return [
            (device, gap._replace(ended_at_ms=max(now_ms, gap.began_at_ms), reason=f"{gap.reason}; {NOT_CONFIGURED}"))
            for device, gap in ended
        ]

    def before(self, readings: Sequence[Reading]) -> list[Gap]:
        """Return the gaps that these readings, the first of their tags, bring to an end."""
        if not self._last:
            return []
        first = [
            (began_at_ms, reading)
            for began_at_ms, reading in [
                (self._last.pop(reading.tag), reading) for reading in readings if reading.tag in self._last
            ]
            if not abs(reading.taken_at_ms - began_at_ms) <= self._bearable_ms.get(reading.tag, -1)
        ]
        groups: list[list[tuple[int, Reading]]] = []
        for began_at_ms, reading in sorted(first, key=lambda entry: (entry[0], entry[1].taken_at_ms)):
            if not groups or not _together(groups[-1][0], (began_at_ms, reading)):
                groups.append([])
            groups[-1].append((began_at_ms, reading))
        return [self._gap(group) for group in groups]

    def _gap(self, group: list[tuple[int, Reading]]) -> Gap:
        began_at_ms = max(began for began, _ in group)
        ended_at_ms = max(began_at_ms, min(reading.taken_at_ms for _, reading in group))
        tags = tuple(reading.tag for _, reading in group)
        return Gap(self._log.next_gap_id(), tags, began_at_ms, ended_at_ms, self._reason)


def _together(one: tuple[int, Reading], other: tuple[int, Reading]) -> bool:
    """Whether two silences, each with its beginning and the reading that ends it, are told as one."""
    return abs(other[0] - one[0]) <= TOGETHER_MS and abs(other[1].taken_at_ms - one[1].taken_at_ms) <= TOGETHER_MS
