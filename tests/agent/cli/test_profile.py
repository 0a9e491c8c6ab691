"""`lms-agent profile` lists, shows and checks profiles, and writes their pages."""

import json
from pathlib import Path

import pytest
import typer
from lms_agent.cli import app, completing
from lms_protocol.instruments.catalogue import PACKAGED
from typer.testing import CliRunner


@pytest.fixture
def run(monkeypatch):
    def _run(*arguments, columns="80"):
        monkeypatch.setenv("COLUMNS", columns)
        return CliRunner().invoke(app, ["profile", *map(str, arguments)])

    return _run


@pytest.fixture
def mine(tmp_path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    text = (PACKAGED / "mettler-m80.toml").read_text(encoding="utf-8")
    (folder / "our-m80.toml").write_text(text.replace('id = "mettler-m80"', 'id = "our-m80"'), encoding="utf-8")
    return folder


def test_list_fits_a_narrow_screen_and_names_every_profile(run):
    done = run("list")
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert {line.split()[0] for line in lines[1:]} == {path.stem for path in PACKAGED.glob("*.toml")}


def test_list_as_json_says_which_are_own(run, mine):
    entries = json.loads(run("list", "--profiles", mine, "--json").output)["profiles"]
    assert [entry["id"] for entry in entries if entry["own"]] == ["our-m80"]
    assert {entry["evidence"] for entry in entries} == {"verified", "reported"}


def test_own_profiles_come_from_the_folder_that_the_configuration_names(run, mine, tmp_path):
    (tmp_path / "agent.toml").write_text('[agent]\nprofiles = "mine"\nwrong = 1\n', encoding="utf-8")
    done = run("show", "our-m80", "--config", tmp_path / "agent.toml")
    assert (done.exit_code, "Mettler Toledo" in done.output) == (0, True)


@pytest.mark.parametrize("name", sorted(path.stem for path in PACKAGED.glob("*.toml")))
def test_show_fits_a_narrow_screen(run, name):
    done = run("show", name)
    assert done.exit_code == 0
    assert all(len(line) <= 80 for line in done.output.splitlines())


def test_show_as_json_is_the_whole_profile(run):
    shown = json.loads(run("show", "hamilton-arc-ph", "--json").output)
    assert [point["address"] for point in shown["point"]] == [2091, 2411, 4871]
    assert shown["point"][0]["calibration"]["reference"][0]["value"] == 4.01


def test_unknown_profile_ends_with_1_and_names_those_that_there_are(run):
    done = run("show", "hamilton")
    assert done.exit_code == 1
    assert "hamilton-arc-ph" in done.output
    assert "hamilton-arc-ph" in json.loads(run("show", "hamilton", "--json").output)["error"]


def test_check_says_good_or_all_that_is_wrong(run, mine):
    assert run("check", mine).exit_code == 0
    (mine / "bad.toml").write_text('id = "bad"\nwords = 3\n', encoding="utf-8")
    done = run("check", mine, columns="500")
    assert done.exit_code == 2
    assert "our-m80.toml: good: Mettler Toledo" in done.output
    assert 'bad.toml: driver: found nothing; allowed: "modbus", "mt-sics", "ezo"' in done.output
    files = json.loads(run("check", mine, "--json").output)["files"]
    told = [(Path(each["file"]).name, len(each["problems"])) for each in files]
    assert told == [
        ("bad.toml", 1),
        ("our-m80.toml", 0),
    ]


def test_copy_begins_a_profile_of_ones_own(run, tmp_path):
    own = tmp_path / "our-ph.toml"
    done = run("copy", "hamilton-arc-ph", own)
    assert done.exit_code == 0
    assert run("check", own).exit_code == 0
    assert 'id = "our-ph"' in own.read_text(encoding="utf-8")
    assert run("copy", "hamilton-arc-ph", own).exit_code == 1, "nothing is overwritten"
    assert run("copy", "hamilton", tmp_path / "other.toml").exit_code == 1
    assert run("copy", "hamilton-arc-ph", tmp_path / "other.txt").exit_code == 2
    assert run("copy", "hamilton-arc-ph", tmp_path / "Our pH.toml").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["our-ph.toml"]


def test_check_of_nothing_is_no_success(run, tmp_path):
    assert run("check", tmp_path).exit_code == 2
    assert run("check", tmp_path / "nowhere.toml").exit_code == 2


def test_pages_are_written_for_packaged_and_own_profiles(run, mine, tmp_path):
    done = run("pages", tmp_path / "pages", "--profiles", mine)
    assert done.exit_code == 0
    assert "our-m80.md" in (tmp_path / "pages" / "index.md").read_text(encoding="utf-8")
    assert "Profile `our-m80`" in (tmp_path / "pages" / "our-m80.md").read_text(encoding="utf-8")


def test_tab_offers_packaged_and_own_profiles(mine):
    offered = completing.profiles(typer.Context(typer.main.get_command(app), info_name="x"), "mettler")
    assert offered == ["mettler-m80"]
    context = typer.Context(typer.main.get_command(app), info_name="x")
    context.params = {"folder": mine}
    assert completing.profiles(context, "our") == ["our-m80"]
    context.params = {"folder": mine / "nowhere"}
    assert completing.profiles(context, "our") == []
