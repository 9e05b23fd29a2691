"""A page, asked of the platform; and a whole look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otn.database import transaction
from otn.errors import ConfigurationError
from otn.settings import PageSettings
from otn.watch import silences
from otn.watch.finding import Finding
from otn.watch.look import Surroundings, look
from otn.watch.page_check import ALL_FIELDS, check_page
from sandbox.control_client import Sandbox
from tests.watch.conftest import Place

Make = Callable[..., PageSettings]


@pytest.fixture
def make(sandbox: Sandbox) -> Iterator[Make]:
    """Makes a page on the platform, and its settings."""

    def page(**values: Any) -> PageSettings:
        facts = sandbox.page("1001", access_token="EAAB-secret", app_secret="a", verify_token="v", **values)
        return PageSettings("shop", sandbox.base_url, facts["page_id"], facts["access_token"], "a", "v")

    sandbox.reset()
    yield page
    sandbox.clear_faults()


def levels(settings: PageSettings, **options: Any) -> dict[str, str]:
    return {one.kind: one.level for one in check_page(settings, **options)}


WELL = dict.fromkeys(("token", "platform", "subscription", "features", "secrets"), "ok")


def test_a_good_page_is_well(make: Make) -> None:
    assert levels(make()) == WELL


@pytest.mark.parametrize(
    ("missing", "level"),
    [("messaging_optins", "alarm"), ("messaging_policy_enforcement", "alarm"), ("messaging_referrals", "warn")],
)
def test_a_lapsed_subscription_is_told_and_repaired_only_when_allowed(
    make: Make, sandbox: Sandbox, missing: str, level: str
) -> None:
    settings = make(subscribed_fields=[name for name in ALL_FIELDS if name != missing])
    assert levels(settings) == WELL | {"subscription": level}
    repaired = check_page(settings, subscribe=True)[2]
    assert repaired.level == "warn"
    assert f"subscribed again: {missing}" in repaired.sentence
    assert levels(settings, subscribe=True) == WELL
    assert set(ALL_FIELDS) <= set(sandbox.pages()[0]["subscribed_fields"])


def test_fields_that_others_subscribed_stay(make: Make, sandbox: Sandbox) -> None:
    check_page(make(subscribed_fields=["standby", "messages"]), subscribe=True)
    assert "standby" in sandbox.pages()[0]["subscribed_fields"]


def test_a_dead_token_is_an_alarm_and_says_nothing_of_the_rest(make: Make) -> None:
    found = check_page(make(dead=463))
    assert {one.kind: one.level for one in found} == {"token": "alarm", "platform": "ok", "secrets": "ok"}
    assert not [one for one in found if "EAAB" in one.sentence]


def test_a_platform_out_of_reach_says_nothing_of_the_token(make: Make) -> None:
    settings = replace(make(), base_url="http://127.0.0.1:1")
    assert levels(settings) == {"platform": "warn", "secrets": "ok"}


@pytest.mark.parametrize(("status", "level"), [("pending", "warn"), ("rejected", "alarm"), ("limited", "alarm")])
def test_features_that_are_not_granted(make: Make, status: str, level: str) -> None:
    assert levels(make(features={"one_time_notification": status}))["features"] == level


def test_features_that_are_not_listed_are_unknown_and_no_alarm(make: Make) -> None:
    assert levels(make(features={}))["features"] == "ok"


def test_missing_secrets_are_named(make: Make) -> None:
    assert levels(replace(make(), verify_token=None))["secrets"] == "alarm"


def test_a_look_finds_each_page_by_itself(make: Make, place: Place) -> None:
    settings = make()
    place.sql("INSERT INTO otn.page (page_id, connection_id) VALUES ('2', 'gone'), ('3', 'other')")
    good, gone, other = (page.id for page in place.pages())

    def read(connection_id: str) -> PageSettings:
        if connection_id == "gone":
            raise ConfigurationError("The connection 'gone' is not defined.")
        return settings

    found = look(place.engine, Surroundings(settings=read, receiver_urls=["http://127.0.0.1:1"]))
    bad = {(one.page_id, one.kind) for one in found if one.level == "alarm"}
    assert bad == {(gone, "connection"), (other, "connection"), (None, "receiver")}
    assert {one.kind for one in found if one.page_id == good and one.level == "ok"} >= {"token", "connection", "halt"}
    assert "token" not in {one.kind for one in found if one.page_id in {gone, other}}
    # As alarms, all of it fits.
    assert place.merge(*found)[0] == len([one for one in found if one.level != "ok"])


def test_an_installation_without_pages_is_told_so(place: Place) -> None:
    place.sql("DELETE FROM otn.topic")
    place.sql("DELETE FROM otn.page")
    found = look(place.engine, Surroundings(settings=lambda _: pytest.fail("nobody to ask about")))
    assert [one.kind for one in found if one.level == "warn"] == ["epoch", "pages"]  # nor is anybody to be answered


def test_silences_that_do_not_reach_their_journal_are_told_and_after_an_hour_at_once(
    place: Place, tmp_path: Path
) -> None:
    environ = {"OTN_ERASURE_JOURNAL": str(tmp_path / "erasures.jsonl")}

    def seen() -> Finding:
        with transaction(place.engine) as conn:
            return silences.finding(conn, environ)

    assert seen().level == "ok"
    place.sql("UPDATE otn.silence_mark SET owed = true")
    place.merge(seen())
    assert seen().level == "warn"
    place.sql("UPDATE otn.alarm SET since = now() - interval '2 hours'")
    assert seen().level == "alarm"
    place.sql("UPDATE otn.silence_mark SET owed = false")
    assert seen().level == "ok"
    assert place.merge(seen()) == (0, 1)
    (tmp_path / "silences.jsonl").mkdir()
    assert (seen().level, "cannot be written" in seen().sentence) == ("alarm", True)
    environ["OTN_ERASURE_JOURNAL"] = "relative.jsonl"
    assert (seen().level, "absolute path" in seen().sentence) == ("alarm", True)
