"""The pages in docs/instruments are those of the profiles, and every key of a profile is explained."""

from pathlib import Path

import pytest
from lms_protocol.instruments import calibration, facts, lines_profile, model, points, registers_profile
from lms_protocol.instruments.catalogue import Catalogue
from lms_protocol.instruments.describing import overview, page

DOCS = Path(__file__).parents[3] / "docs" / "instruments"
REMEDY = "stale: run `lms-agent profile pages docs/instruments` and put index.md's table into README.md"
MODELS = [
    facts.Source, facts.Link, facts.Timing, facts.RegisterIdentity, facts.CommandIdentity,
    model.ModbusProfile, model.BalanceProfile, model.EzoProfile, model.AlicatProfile, model.PumpProfile,
    registers_profile.NamedStatus, registers_profile.UnitCodes, registers_profile.ModbusDefaults,
    lines_profile.AlicatDefaults, lines_profile.PumpDefaults,
    points.ModbusProfilePoint, points.BalancePoint, points.EzoPoint, points.AlicatPoint, points.PumpPoint,
    calibration.Procedure, calibration.Reference, calibration.Stability, calibration.Step, calibration.RegisterWrite,
    calibration.Verdict,
]  # fmt: skip


@pytest.mark.parametrize("profile", list(Catalogue()), ids=lambda profile: profile.id)
def test_page_in_docs_is_the_profiles(profile):
    assert (DOCS / f"{profile.id}.md").read_text(encoding="utf-8") == page(profile), REMEDY


def test_no_page_is_left_of_a_profile_that_is_gone():
    pages = {path.stem for path in DOCS.glob("*.md")} - {"README", "writing-a-profile"}
    assert pages == set(Catalogue().entries)


def test_readme_lists_every_profile():
    assert overview(Catalogue()) in (DOCS / "README.md").read_text(encoding="utf-8"), REMEDY


@pytest.mark.parametrize("described", MODELS, ids=lambda one: one.__name__)
def test_every_key_of_a_profile_is_explained(described):
    text = (DOCS / "writing-a-profile.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    keys = [field.alias or name for name, field in described.model_fields.items()]
    explained_above = ("source", "page")
    assert [key for key in keys if key not in explained_above and not any(f"`{key}`" in row for row in rows)] == []
