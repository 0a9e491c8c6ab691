"""Settings: read from the environment and files; a missing, short or example secret keeps the program from starting."""

import secrets

import pytest
from lms_cloud.kernel.errors import SettingsError
from lms_cloud.kernel.settings import CloudSettings, load_settings
from pydantic import ValidationError

URL = {"LMS_DATABASE_URL": "postgresql://u:p@127.0.0.1/d"}


def test_settings_come_from_the_environment_and_are_frozen() -> None:
    settings = load_settings({**URL, "LMS_LISTEN": "[::1]:9000", "LMS_WORKERS": "3", "OTHER": "x"})
    assert (settings.listen.host, settings.listen.port, settings.workers) == ("::1", 9000, 3)
    with pytest.raises(ValidationError):
        settings.workers = 4


def test_secret_comes_from_a_file(tmp_path) -> None:
    secret = secrets.token_urlsafe(48)
    (tmp_path / "key").write_text(secret + "\n")
    settings = load_settings({**URL, "LMS_SECRET_KEY_FILE": str(tmp_path / "key")})
    assert settings.require_secret_key() == secret
    assert secret not in repr(settings)


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("", "is missing"),
        ("short", "has 5 characters"),
        ("a" * 64, "example or far too regular"),
        ("changeme-changeme-changeme-changeme", "example or far too regular"),
        ("this-is-an-example-key-0123456789abcdef", "example or far too regular"),
    ],
)
def test_bad_secret_is_refused_with_its_remedy(secret: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as refusal:
        load_settings({**URL, "LMS_SECRET_KEY": secret}).require_secret_key()
    assert refusal.value.variable == "LMS_SECRET_KEY"
    assert "secrets.token_urlsafe" in str(refusal.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LMS_LISTEN", "nowhere"),
        ("LMS_LISTEN", "127.0.0.1:99999"),
        ("LMS_PUBLIC_URL", "http://lms.example.org"),
        ("LMS_PUBLIC_URL", "ftp://127.0.0.1"),
        ("LMS_HOST_ID", "a/b"),
        ("LMS_WORKERS", "many"),
        ("LMS_ACCESS_TOKEN_S", "999999"),
        ("LMS_LOG_LEVEL", "loud"),
    ],
)
def test_wrong_value_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings({**URL, variable: value})
    assert refusal.value.variable == variable


def test_missing_database_and_unreadable_file_are_named(tmp_path) -> None:
    with pytest.raises(SettingsError, match="LMS_DATABASE_URL is missing"):
        load_settings({})
    with pytest.raises(SettingsError, match="LMS_SECRET_KEY_FILE names"):
        load_settings({**URL, "LMS_SECRET_KEY_FILE": str(tmp_path / "none")})
    (tmp_path / "key").write_text("x")
    with pytest.raises(SettingsError, match="are both set"):
        load_settings({**URL, "LMS_SECRET_KEY": "y", "LMS_SECRET_KEY_FILE": str(tmp_path / "key")})


def test_every_setting_is_described_and_in_the_example_and_the_documentation(pytestconfig) -> None:
    root = pytestconfig.rootpath
    example = (root / "config" / "cloud.example.env").read_text()
    documentation = (root / "docs" / "cloud.md").read_text()
    for name, field in CloudSettings.model_fields.items():
        variable = f"LMS_{name.upper()}"
        assert field.description, variable
        assert variable in example, f"{variable} is missing in config/cloud.example.env"
        assert f"`{variable}`" in documentation, f"{variable} is missing in docs/cloud.md"
