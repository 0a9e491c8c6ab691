"""The file itself and the files that it names."""

import os
from pathlib import Path

import pytest
from lms_agent.errors import SettingsError
from lms_agent.settings import default_path, load_settings
from lms_protocol.reading import Datatype

GOOD = (Path(__file__).parent / "cases" / "good" / "agent.toml").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("correct horse\n")
    (tmp_path / "agent.toml").write_text(GOOD, encoding="utf-8")
    return tmp_path


def test_relative_paths_count_from_the_file(folder, monkeypatch):
    monkeypatch.chdir("/")
    settings = load_settings(folder / "agent.toml")
    assert settings.agent.log == folder / "log.sqlite3"
    assert settings.broker.password_file == folder / "secret"
    assert settings.broker.read_password() == "correct horse"
    monkeypatch.chdir(folder)
    assert load_settings(Path("agent.toml")).agent.log == folder / "log.sqlite3"


def test_settings_are_frozen_and_describe_tags(folder):
    settings = load_settings(folder / "agent.toml")
    with pytest.raises(ValueError, match="frozen"):
        settings.agent.id = "other"
    (tag,) = settings.tag_descriptions()
    assert (tag.number, tag.device, tag.name, tag.datatype) == (0, "R1", "pH/PV", Datatype.FLOAT)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_password_that_others_may_read_is_refused_with_remedy(folder, mode):
    (folder / "secret").chmod(mode)
    with pytest.raises(SettingsError, match=rf'with mode {mode:04o}; allowed: .*`chmod 600 "{folder}/secret"`'):
        load_settings(folder / "agent.toml")


def test_empty_password_is_refused(folder):
    (folder / "secret").write_text("\n")
    with pytest.raises(SettingsError, match="which is empty"):
        load_settings(folder / "agent.toml")


def test_certificate_that_is_not_there_is_named(folder):
    (folder / "agent.toml").write_text(GOOD.replace("[broker]", '[broker]\nca_file = "ca.pem"'), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"line 7, broker.ca_file: found .*ca\.pem"):
        load_settings(folder / "agent.toml")


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere.toml: found no such file; allowed: .*LMS_AGENT_CONFIG"):
        load_settings(tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match="found a folder"):
        load_settings(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(folder):
    (folder / "agent.toml").chmod(0)
    with pytest.raises(SettingsError, match="may not read"):
        load_settings(folder / "agent.toml")


def test_file_that_is_no_utf8_is_named_with_its_line(folder):
    (folder / "agent.toml").write_bytes(b'[agent]\nid = "\xb5"\n')
    with pytest.raises(SettingsError, match="line 2: found byte 0xb5, which is not UTF-8"):
        load_settings(folder / "agent.toml")


def test_password_never_shows_in_an_error(folder):
    (folder / "secret").chmod(0o644)
    with pytest.raises(SettingsError) as caught:
        load_settings(folder / "agent.toml")
    assert "horse" not in str(caught.value)


def test_default_path_is_the_variable_then_etc(monkeypatch):
    monkeypatch.setenv("LMS_AGENT_CONFIG", "/somewhere/agent.toml")
    assert default_path() == Path("/somewhere/agent.toml")
    monkeypatch.delenv("LMS_AGENT_CONFIG")
    assert default_path() == Path("/etc/lms-evo/agent.toml")
