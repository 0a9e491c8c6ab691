"""What other people wrote is in the repository unchanged, with its version, licence and source."""

import hashlib
import tomllib
from pathlib import Path

import lms_cloud.web
import pytest

VENDOR = Path(lms_cloud.web.__file__).parent / "static" / "vendor"
ASSETS = tomllib.loads((VENDOR / "VENDORED.toml").read_text())["asset"]


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset["name"])
def test_vendored_files_have_the_sums_that_are_written_down(asset: dict) -> None:
    folder = VENDOR / asset["folder"]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert found == asset["sha256"]


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset["name"])
def test_vendored_folder_says_version_licence_and_source(asset: dict) -> None:
    assert asset["version"] in asset["folder"]
    assert asset["version"] in asset["source"]
    assert asset["licence"]
    assert (VENDOR / asset["folder"] / "LICENSE").stat().st_size > 0


def test_every_vendored_folder_is_listed() -> None:
    assert {path.name for path in VENDOR.iterdir() if path.is_dir()} == {asset["folder"] for asset in ASSETS}
