"""From box to reading with no help but the program, for an instrument of each profile, in a terminal of 80 × 24."""

from lms_agent.settings import load_settings
from lms_protocol.instruments.catalogue import Catalogue
from support.bench import WAYS, walk_all


async def test_every_way_from_box_to_reading_ends_with_good_readings(tmp_path):
    for walk in await walk_all(tmp_path):
        for command, shown in walk.shown:
            assert shown.code == 0, f"{command}:\n{shown.text}"
            assert [line for line in shown.lines if len(line) > 80 and str(tmp_path) not in line] == [], command
        settings = load_settings(walk.config)
        assert tuple(instrument.profile or "" for instrument in settings.instruments) == walk.way.profiles
        rows = [line.split() for line in walk.shown[-1][1].lines if line.startswith("R1")]
        tags = {point.tag for instrument in settings.instruments for point in instrument.points}
        assert tags <= {row[1] for row in rows}
        assert all("good" in row for row in rows), walk.shown[-1][1].text


def test_every_profile_has_a_way():
    walked = {profile or "generic-modbus" for way in WAYS for profile in way.profiles}
    assert walked == {profile.id for profile in Catalogue()}
