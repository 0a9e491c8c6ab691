"""Profiles are checked as strictly as the configuration, and an own one hides a packaged one."""

import textwrap

import pytest
from lms_protocol.instruments.catalogue import Catalogue, ProfileError, UnknownProfile, read_profile

SOUND = """
    id = "sound"
    maker = "We"
    models = ["one"]
    words = "a level"
    driver = "modbus"

    [[source]]
    id = "manual"
    title = "our manual"
    evidence = "verified"

    [[link]]
    kind = "modbus-rtu"
    baud = 19200
    source = "manual"

    [timing]
    reply_s = 0.3
    source = "manual"

    [instrument]
    block = [{ address = 10, count = 10 }]
    source = "manual"

    [unit_codes]
    name = [{ code = 1, unit = "mm" }]
    source = "manual"

    [[status]]
    name = "flags"
    source = "manual"

    [[point]]
    name = "level"
    tag = "Level/PV"
    words = "the level"
    unit = "mm"
    address = 4
    unit_address = 5
    status = "flags"
    status_address = 6
    source = "manual"
"""
CALIBRATION = """
    [point.calibration]
    kind = "agent"
    stability = { window_s = 10.0, drift_per_min = 1.0 }
    source = "manual"

    [[point.calibration.reference]]
    name = "low"
    value = 1.0
    minimum = 0.0
    maximum = 2.0
"""


@pytest.fixture
def read(tmp_path):
    def _read(text, name="sound"):
        path = tmp_path / f"{name}.toml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return read_profile(path)

    return _read


def test_sound_profile_is_read(read):
    profile = read(SOUND + CALIBRATION)
    (point,) = profile.points
    assert profile.status_of(point).address == 6
    assert profile.unit_code_of(point, "mm").expected == 1
    assert profile.unit_code_of(point, "cm") is None
    assert profile.evidence == "verified"
    assert point.calibration.references[0].value == 1.0


BROKEN = [
    ('status = "flags"', 'status = "flag"', 'point[Level/PV].status: found "flag"; allowed: the name of a [[status]]'),
    ("    status_address = 6\n", "", "point[Level/PV].status_address: found nothing; allowed: where the status lies"),
    (
        'unit = "mm"\n    add',
        'unit = "cm"\n    add',
        'point[Level/PV].unit: found "cm"; allowed: a unit of [unit_codes]',
    ),
    (
        "address = 4",
        'address = 4\n    kind = "float32"',
        "point[Level/PV].unit_address: found the unit of level in registers 5; allowed: registers of its own; ",
    ),
    (
        "address = 4",
        'address = 9\n    kind = "float32"',
        "point[Level/PV].address: found level in registers 9 to 10; allowed: all of it in the block of registers 10",
    ),
    ('name = "level"', 'name = "the level"', 'point[Level/PV].name: found "the level"; allowed: letters, digits and _'),
    (
        'id = "manual"',
        'id = "Manual"',
        'source[Manual].id: found "Manual"; allowed: small letters and digits',
    ),
    ("address = 4", "address = 65536", "point[Level/PV].address: found 65536; allowed: at most 65535"),
    ("address = 4", 'address = 4\n    kind = "float33"', 'point[Level/PV].kind: found "float33"'),
    ("address = 4", 'address = 4\n    register = "input"\n    access = "write"', "input registers cannot be written"),
    (
        "address = 4",
        "address = 4\n    low = 2.0\n    high = 1.0",
        "point[Level/PV].high: found 1; allowed: more than",
    ),
    ('tag = "Level/PV"', 'tag = "Level#PV"', 'point[Level#PV].tag: found "Level#PV"'),
    ('words = "the level"\n', "", "point[Level/PV].words: found nothing; allowed: a value: this key is required"),
    ("baud = 19200", "baud = 19200\n    bauds = [9600]", "link[#1].baud: found 19200; allowed: one of bauds: 9600"),
    ("    baud = 19200\n", "", "link[#1].baud: found nothing; allowed: the rate that the instrument is set to"),
    ('kind = "modbus-rtu"', 'kind = "serial"', 'link[#1].kind: found "serial"; allowed: "modbus-rtu" or "modbus-tcp"'),
    ("reply_s = 0.3", "reply_ms = 300", 'timing.reply_ms: found an unknown key; allowed: perhaps "reply_s"'),
    (
        'reply_s = 0.3\n    source = "manual"',
        'reply_s = 0.3\n    source = "book"',
        'timing.source: found "book"; allowed: the id of a [[source]]: "manual"',
    ),
    ('driver = "modbus"', 'driver = "profinet"', 'driver: found "profinet"; allowed: "modbus", "mt-sics", "ezo"'),
    ('id = "sound"', 'id = "other"', 'id: found "other"; allowed: "sound", the name of the file'),
    ('kind = "agent"', 'kind = "instrument"', "point[Level/PV].calibration.reference[low].step: found nothing"),
    ("value = 1.0", "value = 3.0", "calibration.reference[low].value: found 3; allowed: within minimum = 0"),
    (
        "maximum = 2.0",
        'maximum = 2.0\n    step = [{ command = "Cal" }]',
        "point[Level/PV].calibration.reference[low].step: found steps; allowed: no steps with kind",
    ),
]


@pytest.mark.parametrize(("old", "new", "told"), BROKEN, ids=lambda text: text.strip()[:40])
def test_problem_is_told_with_line_key_found_and_allowed(read, old, new, told):
    text = SOUND + CALIBRATION
    assert old in text
    with pytest.raises(ProfileError) as caught:
        read(text.replace(old, new, 1))
    assert told in str(caught.value)
    assert all(problem.line for problem in caught.value.problems)


BALANCE = """
    id = "sound"
    maker = "We"
    models = ["one"]
    words = "a weight"
    driver = "mt-sics"
    source = [{ id = "manual", title = "our manual", evidence = "verified" }]
    link = [{ kind = "serial", baud = 9600, source = "manual" }]
    timing = { reply_s = 1.0, source = "manual" }
    identity = { ask = "I4", answer = "^I4 A", source = "manual" }
    point = [{ name = "weight", tag = "Weight/PV", words = "it", unit = "g", source = "manual" }]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"I4"', '"{unti}I4"', 'identity.ask: found "{unti}I4"; allowed: text in which braces hold `unit` or `value`'),
        ('"I4"', '"I4\\r"', 'identity.ask: found "I4\\r"; allowed: printable ASCII'),
        ('"^I4 A"', '"^I4 (A"', 'identity.answer: found "^I4 (A" (missing ), unterminated subpattern at position 4)'),
    ],
)
def test_questions_and_patterns_are_checked(read, old, new, told):
    assert read(BALANCE).identity.fits('I4 A "7"')
    with pytest.raises(ProfileError) as caught:
        read(BALANCE.replace(old, new))
    assert told in str(caught.value)


def test_steps_of_a_calibration_speak_the_dialect(read):
    procedure = CALIBRATION.replace('"agent"', '"instrument"') + '    step = [{ command = "Cal" }]\n'
    with pytest.raises(
        ProfileError, match=r"reference\[low\].step\[#1\]: found a command; allowed: registers to write"
    ):
        read(SOUND + procedure)


def test_all_problems_are_told_at_once(read):
    with pytest.raises(ProfileError) as caught:
        read(SOUND.replace("address = 4", "address = -1").replace("code = 1", "code = 1.5").replace("maker", "maker_"))
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"maker", "maker_", "point[Level/PV].address", "unit_codes.name[#1].code"}


def test_own_profile_hides_a_packaged_one(tmp_path):
    text = textwrap.dedent(SOUND).replace('id = "sound"', 'id = "mettler-m80"')
    (tmp_path / "mettler-m80.toml").write_text(text, encoding="utf-8")
    catalogue = Catalogue(tmp_path)
    assert catalogue.get("mettler-m80").maker == "We"
    assert catalogue.entries["mettler-m80"].own
    assert Catalogue().get("mettler-m80").maker == "Mettler Toledo"


def test_unknown_profile_and_missing_folder_are_told(tmp_path):
    with pytest.raises(UnknownProfile, match='no profile "nothing"; there are alicat-ascii'):
        Catalogue().get("nothing")
    with pytest.raises(ProfileError, match="no such folder"):
        Catalogue(tmp_path / "nowhere")
