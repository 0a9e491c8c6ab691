"""`lms-agent init`: a few answers become a configuration that is good, or nothing at all."""

import os
import pwd
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_agent.settings import load_settings
from lms_agent.starting.answers import Answers, PointAnswer
from lms_agent.starting.drafting import Draft, DraftError, Where
from lms_agent.starting.naming import free_id, free_tags, id_of
from lms_agent.starting.storing import AnswersRefused, hand_over, store
from lms_agent.starting.writing import text, toml_of
from lms_protocol.instruments.catalogue import Catalogue
from support.terminal import in_terminal

PROGRAM = Path(sys.executable).with_name("lms-agent")
PH = "profile=hamilton-arc-ph,port=/dev/ttyUSB0"
BROKER = ("--group", "my-org", "--agent", "pi-1", "--broker", "mqtts://broker.example.org:8883")


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "word"
    path.touch(0o600)
    path.write_text("correct horse\n")
    return path


def given_all(**more) -> Answers:
    known = {
        "group": "org",
        "agent": "agent-1",
        "log": Path("/var/lib/lms-agent/log.sqlite3"),
        "url": "mqtt://127.0.0.1",
        "account": "agent-1",
        "password_file": Path("word"),
        "bioreactors": (),
        "buses": (),
        "instruments": (),
    }
    return Answers(**(known | more))


async def test_answers_from_options_make_a_good_configuration_and_ask_nothing(tmp_path, secret, lms_agent):
    path = tmp_path / "agent.toml"
    answer = await lms_agent(
        *(
            "init",
            "--output",
            path,
            *BROKER,
            "--password-file",
            secret,
            "--bioreactor",
            "R1=STR-1",
            "--bioreactor",
            "R2",
        ),
        *("--instrument", f"{PH},bioreactor=R1,unit=3", "--instrument", f"{PH},bioreactor=R1,unit=4", "--json"),
        *("--instrument", "profile=mt-sics-balance,port=/dev/ttyUSB1,bioreactor=R2,id=scale"),
    )
    assert answer.code == 0, answer.out
    assert answer.json["instruments"] == ["hamilton-arc-ph", "hamilton-arc-ph-2", "scale"]
    settings = load_settings(path)
    assert [bus.port for bus in settings.buses] == ["/dev/ttyUSB0", "/dev/ttyUSB1"]
    assert len({(tag.device, tag.name) for tag in settings.tag_descriptions()}) == len(settings.tag_descriptions())
    assert "pH2/PV" in [tag.name for tag in settings.tag_descriptions()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "correct horse" not in path.read_text()


async def test_answers_can_be_given_in_a_terminal(tmp_path):
    path = tmp_path / "agent.toml"
    shown = await in_terminal(
        [PROGRAM, "init", "--output", path],
        [
            ("wire id:", "my-org\n"),
            ("name [", "pi-7\n"),
            ("Broker [", "broker.example.org\n"),
            ("Account at the broker [pi-7]", "\n"),
            ("not shown", "correct horse\n"),
            ("certificate", "\n"),
            ("Id [R1]", "\n"),
            ("Name, if", "STR-1\n"),
            ("Another bioreactor?", "\n"),
            ("Port, or host", "/dev/ttyUSB0\n"),
            ("Look what hangs there", "n\n"),
            ("Which model", "hamilton-arc-ph\n"),
            ("Its unit", "3\n"),
            ("Set as in its box, 19200 baud 8N2?", "\n"),
            ("Another instrument?", "y\n"),
            ("Port, or host", "192.168.0.20\n"),
            ("Look what hangs there", "n\n"),
            ("Which model", "nonsense\n"),
            ("a number from 1 to", "other\n"),
            ("Modbus unit", "\n"),
            ("Tag, such as", "Temperature/PV\n"),
            ("Register", "input\n"),
            ("Address", "12\n"),
            ("Stored as", "int16\n"),
            ("Scale", "0.1\n"),
            ("Engineering unit", "°C\n"),
            ("Another value?", "\n"),
            ("A name", "jacket\n"),
            ("Another instrument?", "\n"),
        ],
    )
    assert shown.code == 0, shown.text
    assert "is written and good: pH/PV, pH/Temp, Temperature/PV" in " ".join(shown.text.split())
    assert "correct horse" not in shown.text
    assert max(len(line) for line in shown.lines if str(path) not in line) <= 80
    settings = load_settings(path)
    assert settings.broker.read_password() == "correct horse"
    assert stat.S_IMODE(settings.broker.password_file.stat().st_mode) == 0o600
    assert settings.instruments[0].unit == 3
    point = settings.instruments[1].points[0]
    assert (point.register_, point.address, point.kind, point.scale, point.unit) == ("input", 12, "int16", 0.1, "°C")


async def test_ending_before_the_last_answer_writes_nothing(tmp_path):
    shown = await in_terminal(
        [PROGRAM, "init", "--output", tmp_path / "agent.toml"], [("wire id:", "my-org\n"), ("name [", "\x04")]
    )
    assert shown.code == 130
    assert "Nothing was written." in shown.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--group": None}, "--group is missing"),
        ({"--bioreactor": None}, "--bioreactor is missing"),
        ({"--instrument": None}, "--instrument is missing"),
        ({"--instrument": "profile=hamilton-arc-pg,port=/dev/ttyUSB0"}, 'no profile "hamilton-arc-pg"'),
        ({"--instrument": "profile=hamilton-arc-ph"}, "port=… (serial) or host=… (TCP)"),
        ({"--instrument": "model=3"}, "allowed: NAME=VALUE"),
        ({"--instrument": f"{PH},bioreactor=R9"}, "there is no bioreactor R9; there is R1"),
        (
            {"--instrument": "profile=hamilton-arc-ph,host=192.168.0.9"},
            "hangs on a serial port, not on 192.168.0.9:502",
        ),
        ({"--broker": "broker.example.org"}, "mqtt://host:port"),
        ({"--group": "my/org"}, "without + / #"),
    ],
)
async def test_answers_that_cannot_be_used_are_refused_with_what_can(change, words, tmp_path, secret, lms_agent):
    options = {"--group": "g", "--broker": "mqtts://b", "--bioreactor": "R1", "--instrument": PH} | change
    arguments = [part for name, value in options.items() if value is not None for part in (name, value)]
    answer = await lms_agent("init", "--output", tmp_path / "agent.toml", "--password-file", secret, *arguments)
    assert answer.code == 2, answer.out
    assert words in " ".join(answer.err.split())
    assert "Traceback" not in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["word"]


async def test_file_that_is_there_is_not_replaced_unasked(tmp_path, secret, lms_agent):
    path = tmp_path / "agent.toml"
    path.write_text("mine")
    arguments = (*BROKER, "--password-file", secret, "--bioreactor", "R1", "--instrument", PH)
    refused = await lms_agent("init", "--output", path, *arguments)
    assert (refused.code, path.read_text()) == (1, "mine")
    assert "--force" in refused.err
    assert (await lms_agent("init", "--output", path, "--force", *arguments)).code == 0
    load_settings(path)


def test_configuration_of_no_use_leaves_nothing_behind(tmp_path):
    with pytest.raises(AnswersRefused):
        store(tmp_path / "agent.toml", given_all(), "word")
    assert list(tmp_path.iterdir()) == []


def test_files_that_root_writes_are_given_to_the_agents_account(tmp_path):
    if os.geteuid():
        pytest.skip("needs root, to give files away")
    config, secret = tmp_path / "agent.toml", tmp_path / "word"
    config.touch(0o640)
    secret.touch(0o600)
    account = pwd.getpwnam("nobody")
    assert hand_over(config, secret, "nobody")
    assert (config.stat().st_uid, config.stat().st_gid) == (0, account.pw_gid)
    assert (secret.stat().st_uid, secret.stat().st_gid) == (account.pw_uid, account.pw_gid)
    assert not hand_over(config, secret, "no-such-account")


def test_every_profile_with_points_can_be_set_up(tmp_path):
    for profile in Catalogue():
        if not profile.points:
            continue
        draft = Draft()
        draft.add_bioreactor("R1")
        where = Where(host="192.168.0.9") if profile.links[0].kind == "modbus-tcp" else Where(port="/dev/ttyUSB0")
        draft.add(profile, where, bioreactor="R1")
        path = tmp_path / f"{profile.id}.toml"
        settings = store(path, draft.answers(given_all(password_file=Path(f"{profile.id}.word"))), "word")
        assert [point.tag for point in settings.instruments[0].points] == [p.tag for p in profile.points if p.default]


def test_two_units_of_one_number_on_a_line_are_refused():
    draft, catalogue = Draft(), Catalogue()
    draft.add_bioreactor("R1")
    profile = catalogue.get("hamilton-arc-ph")
    draft.add(profile, Where(port="/dev/ttyUSB0"), bioreactor="R1", unit=1)
    with pytest.raises(DraftError, match="unit 1 on /dev/ttyUSB0 is hamilton-arc-ph already"):
        draft.add(profile, Where(port="/dev/ttyUSB0"), bioreactor="R1", unit=1)
    with pytest.raises(DraftError, match="take another port"):
        draft.add(catalogue.get("mt-sics-balance"), Where(port="/dev/ttyUSB0"), bioreactor="R1")


@given(st.text(max_size=40))
def test_any_text_is_written_so_that_it_reads_back(value):
    assert tomllib.loads(f"x = {text(value)}")["x"] == value


def test_file_without_a_profile_reads_back_as_it_was_answered():
    draft = Draft()
    draft.add_bioreactor("R1")
    point = PointAnswer("A/PV", keys={"address": "7", "kind": text("float32")})
    draft.add_registers(Where(port="/dev/ttyUSB0", baud=9600), bioreactor="R1", unit=2, id_="x", points=[point])
    document = tomllib.loads(toml_of(draft.answers(given_all())))
    assert document["instrument"][0]["point"] == [{"tag": "A/PV", "address": 7, "kind": "float32"}]
    assert document["bus"][0]["baud"] == 9600


def test_names_that_are_taken_are_numbered():
    assert free_id("ph", {"ph", "ph-2"}) == "ph-3"
    assert free_tags(["pH/PV", "pH/Temp"], {"pH/PV", "pH2/Temp"}) == ["pH3/PV", "pH3/Temp"]
    assert id_of("Raspberry Pi #4", "agent-1") == "raspberry-pi-4"
