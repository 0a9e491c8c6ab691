"""Every packaged profile can be named in a configuration, on each of its links, and gives its tags."""

from pathlib import Path

import pytest
from lms_agent.settings import load_settings
from lms_protocol.instruments.catalogue import Catalogue

HEAD = (Path(__file__).parent / "cases" / "good" / "agent.toml").read_text(encoding="utf-8").split("[[bus]]")[0]
PLACES = {"modbus-tcp": 'host = "127.0.0.1"', "modbus-rtu": 'port = "/dev/ttyUSB0"', "serial": 'port = "/dev/ttyUSB0"'}
CATALOGUE = Catalogue()
USES = [(profile.id, link.kind) for profile in CATALOGUE for link in profile.links]


@pytest.mark.parametrize(("name", "kind"), USES)
def test_profile_is_all_that_an_instrument_needs(name, kind, tmp_path):
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("correct horse\n")
    profile = CATALOGUE.get(name)
    own = "" if profile.points else '[[instrument.point]]\ntag = "Own/PV"\naddress = 0\n'
    (tmp_path / "agent.toml").write_text(
        f'{HEAD}[[bus]]\nid = "line"\nkind = "{kind}"\n{PLACES[kind]}\n[[instrument]]\nid = "one"\nbus = "line"\n'
        f'bioreactor = "R1"\nprofile = "{name}"\n{own}',
        encoding="utf-8",
    )
    settings = load_settings(tmp_path / "agent.toml")
    (instrument,) = settings.instruments
    assert instrument.driver == profile.driver
    tags = [
        (tag.name, tag.unit, tag.access)
        for tag in settings.tag_descriptions()
        if not tag.name.endswith(("/RAW", "/Calibration"))  # those beside tags that are calibrated
    ]
    expected = [(point.tag, point.unit, point.access) for point in profile.points if point.default]
    assert tags == (expected or [("Own/PV", "", "read")])


@pytest.mark.parametrize("name", sorted(CATALOGUE.entries))
def test_every_point_of_a_profile_can_be_asked_for(name, tmp_path):
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("correct horse\n")
    profile = CATALOGUE.get(name)
    asked = "".join(f'[[instrument.point]]\npoint = "{point.name}"\n' for point in profile.points)
    own = asked or '[[instrument.point]]\ntag = "Own/PV"\naddress = 0\n'
    kind = profile.links[0].kind
    (tmp_path / "agent.toml").write_text(
        f'{HEAD}[[bus]]\nid = "line"\nkind = "{kind}"\n{PLACES[kind]}\n[[instrument]]\nid = "one"\nbus = "line"\n'
        f'bioreactor = "R1"\nprofile = "{name}"\n{own}',
        encoding="utf-8",
    )
    assert len(load_settings(tmp_path / "agent.toml").instruments[0].points) == max(1, len(profile.points))
