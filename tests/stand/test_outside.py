"""Another database or broker, named in the environment."""

import pytest
from lms_firmware_sim.stand import outside
from lms_firmware_sim.stand.errors import SettingRefusedError


def test_nothing_named_means_our_own():
    assert outside.database_url({}) is None
    assert outside.broker({"LMS_MQTT_URL": ""}) is None


@pytest.mark.parametrize("url", ["mqtt://host:1883", "mqtt://account@host", "mqtt://:secret@host"])
def test_a_broker_without_account_is_refused(url):
    with pytest.raises(SettingRefusedError, match="anonymously"):
        outside.broker({"LMS_MQTT_URL": url})


@pytest.mark.parametrize("url", ["host:1883", "http://a:b@host", "mqtt://"])
def test_what_is_no_mqtt_url_is_refused(url):
    with pytest.raises(SettingRefusedError, match="LMS_MQTT_URL"):
        outside.broker({"LMS_MQTT_URL": url})


@pytest.mark.parametrize("url", ["sqlite:///x", "postgresql://host/db", "postgresql://user:p@host"])
def test_what_is_no_postgresql_url_with_user_and_database_is_refused(url):
    with pytest.raises(SettingRefusedError, match="LMS_DATABASE_URL"):
        outside.database_url({"LMS_DATABASE_URL": url})


def test_an_account_with_strange_letters_survives():
    access = outside.broker({"LMS_MQTT_URL": "mqtts://a%40b:p%2Fw%3A@broker.example"})
    assert access == outside.BrokerAccess("mqtts://broker.example:8883", "a@b", "p/w:")
    assert access.full_url == "mqtts://a%40b:p%2Fw%3A@broker.example:8883"
    assert access.url_with_account == "mqtts://a%40b@broker.example:8883"


def test_the_same_database_for_another_user():
    url = outside.as_user("postgresql://owner:old@db.example:5433/lms?sslmode=require", "web user", "p@ss")
    assert url == "postgresql://web%20user:p%40ss@db.example:5433/lms?sslmode=require"
