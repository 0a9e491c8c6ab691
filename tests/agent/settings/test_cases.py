"""Each folder in cases/ is a configuration and what is said of it; an empty expected.txt means: it is good."""

import shutil
from pathlib import Path

import pytest
from lms_agent.errors import SettingsError
from lms_agent.settings import load_settings

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_configuration_is_judged_as_expected(case, tmp_path):
    shutil.copy(case / "agent.toml", tmp_path)
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("correct horse\n")
    try:
        load_settings(tmp_path / "agent.toml")
        said = ""
    except SettingsError as error:
        said = str(error).replace(str(tmp_path), "FOLDER") + "\n"
    assert said == (case / "expected.txt").read_text(encoding="utf-8")
