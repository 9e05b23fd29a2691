from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from otn.consent import profiles
from otn.consent.profiles import Profile, ProfileFigures, ProfileSettings, read_profile_settings
from otn.errors import ConfigurationError
from otn.messenger.client import MessengerClient, ProfileOutcome, ProfileResult
from tests.campaign.conftest import make_stage, sandbox, stage
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url", "make_stage", "sandbox", "stage"]


def come(stage: Stage, people: int = 1, profiles: Any = "plain") -> list[str]:
    """People who wrote a moment ago, each a second before the next."""
    psids = stage.sandbox.people(stage.settings.page_id, people, profiles=profiles)
    for place, psid in enumerate(psids):
        stage.sql(
            "INSERT INTO otn.subscriber (page_id, psid, last_interaction_at)"
            " VALUES (%s, %s, now() - interval '1 h' + make_interval(secs => %s))",
            *(stage.page_row, psid, place),
        )
    return psids


def fetch(stage: Stage, most: int = 50, client: Any = None, **environ: str) -> ProfileFigures:
    spoken = cast("MessengerClient", client or stage.client)
    return profiles.fetch(stage.engine, spoken, stage.settings, stage.page_row, most, environ=environ)


def known(stage: Stage) -> dict[str, tuple[str | None, str | None]]:
    rows = stage.sql("SELECT psid, first_name, profile_error FROM otn.subscriber WHERE profile_at IS NOT NULL")
    return {psid: (name, error) for psid, name, error in rows}


class Speaker:
    """A client that answers as it is told, and remembers who was asked about."""

    def __init__(self, *answers: ProfileResult | ProfileOutcome) -> None:
        self.answers: Iterator[ProfileResult | ProfileOutcome] = iter(answers)
        self.asked: list[list[str]] = []

    def profiles(self, psids: Sequence[str], fields: Sequence[str]) -> list[ProfileResult]:
        assert fields
        self.asked.append(list(psids))
        answer = next(self.answers)
        outcome = answer if isinstance(answer, ProfileOutcome) else answer.outcome
        found = {"first_name": "Ada"} if outcome is ProfileOutcome.FOUND else None
        return [ProfileResult(psid, outcome, fields=found, wait_s=5.0) for psid in psids]


def test_a_first_name_and_nothing_else_is_kept_unless_more_is_enabled(stage: Stage) -> None:
    profile = {"first_name": "Ada", "last_name": "Byron", "locale": "en_GB", "timezone": 5.5}
    come(stage, 1, profile)
    assert fetch(stage) == ProfileFigures(asked=1, known=1)
    facts = "SELECT first_name, last_name, locale, utc_offset::float FROM otn.subscriber"
    assert [tuple(row) for row in stage.sql(facts)] == [("Ada", None, None, None)]
    stage.sql("UPDATE otn.subscriber SET profile_due_at = now()")
    assert fetch(stage, OTN_PROFILE_FIELDS="first_name,last_name,locale,timezone").known == 1
    assert [tuple(row) for row in stage.sql(facts)] == [("Ada", "Byron", "en_GB", 5.5)]


def test_each_documented_answer_is_told_apart_and_nobody_is_asked_about_twice(stage: Stage) -> None:
    kinds = ("plain", "empty", "phone", "forbidden", "odd")
    psids = [come(stage, 1, kind)[0] for kind in kinds]
    assert fetch(stage) == ProfileFigures(asked=5, known=1, unknown=4)
    errors = {psid: error for psid, (_, error) in known(stage).items()}
    assert [errors[psid] for psid in psids] == [None, "no_access", "phone_account", "no_permission", "no_access"]
    assert fetch(stage) == ProfileFigures()


def test_whoever_wrote_last_comes_first_and_whoever_never_wrote_is_left_alone(stage: Stage) -> None:
    early, late = come(stage, 2)
    stage.sql("INSERT INTO otn.subscriber (page_id, psid) VALUES (%s, '1')", stage.page_row)
    assert fetch(stage, 1).asked == 1
    assert set(known(stage)) == {late}
    assert fetch(stage, 1).asked == 1
    assert set(known(stage)) == {late, early}
    assert fetch(stage).asked == 0


def test_the_objecting_and_the_erased_are_not_asked_about(stage: Stage) -> None:
    come(stage, 2)
    stage.sql("INSERT INTO otn.suppression (subscriber_id, reason) SELECT min(id), 'operator' FROM otn.subscriber")
    stage.sql(
        "UPDATE otn.subscriber SET erased_at = now(), psid = NULL WHERE id = (SELECT max(id) FROM otn.subscriber)"
    )
    assert fetch(stage).asked == 0


def test_an_erasure_during_the_call_wins(stage: Stage) -> None:
    come(stage)

    class Slow(Speaker):
        def profiles(self, psids: Sequence[str], fields: Sequence[str]) -> list[ProfileResult]:
            stage.sql("UPDATE otn.subscriber SET erased_at = now(), psid = NULL")
            return super().profiles(psids, fields)

    fetch(stage, client=Slow(ProfileOutcome.FOUND))
    assert [tuple(row) for row in stage.sql("SELECT psid, first_name FROM otn.subscriber")] == [(None, None)]


def test_two_at_once_ask_about_different_people(stage: Stage) -> None:
    come(stage, 20)
    together = threading.Barrier(2, timeout=10)
    speakers = [Speaker(ProfileOutcome.FOUND), Speaker(ProfileOutcome.FOUND)]

    def run(speaker: Speaker) -> None:
        together.wait()
        fetch(stage, 10, client=speaker)

    threads = [threading.Thread(target=run, args=(speaker,)) for speaker in speakers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = [psid for speaker in speakers for call in speaker.asked for psid in call]
    assert len(asked) == len(set(asked)) == 20


def test_who_was_taken_by_one_that_died_is_asked_about_again(stage: Stage) -> None:
    come(stage)

    class Dying(Speaker):
        def profiles(self, psids: Sequence[str], fields: Sequence[str]) -> list[ProfileResult]:
            raise KeyboardInterrupt(psids, fields)

    with pytest.raises(KeyboardInterrupt):
        fetch(stage, client=Dying())
    assert fetch(stage).asked == 0
    left = stage.sql("SELECT profile_due_at - clock_timestamp() < interval '10 min' AS soon FROM otn.subscriber")
    assert [row.soon for row in left] == [True]
    stage.sql("UPDATE otn.subscriber SET profile_due_at = clock_timestamp()")
    assert fetch(stage).known == 1


@pytest.mark.parametrize("outcome", [ProfileOutcome.THROTTLED, ProfileOutcome.PAGE_HALTED])
def test_a_brake_gives_everybody_back_and_lets_the_page_rest(stage: Stage, outcome: ProfileOutcome) -> None:
    come(stage, 3)
    speaker = Speaker(outcome, ProfileOutcome.FOUND)
    assert fetch(stage, client=speaker) == ProfileFigures(asked=3, given_back=3)
    assert known(stage) == {}
    assert fetch(stage, client=speaker).asked == 0
    stage.sql("UPDATE otn.page SET profiles_after = now()")
    assert fetch(stage, client=speaker) == ProfileFigures(asked=3, known=3)


def test_no_answer_is_asked_again_in_an_hour_and_does_not_stand_in_the_way_of_others(stage: Stage) -> None:
    come(stage, 2)
    assert fetch(stage, 1, client=Speaker(ProfileOutcome.TRANSIENT)) == ProfileFigures(asked=1, unanswered=1)
    stage.sql("UPDATE otn.page SET profiles_after = now()")
    assert fetch(stage) == ProfileFigures(asked=1, known=1)
    assert fetch(stage).asked == 0


def test_a_page_without_permission_is_left_alone_for_a_day(stage: Stage) -> None:
    come(stage, 2, "forbidden")
    assert fetch(stage, 1) == ProfileFigures(asked=1, unknown=1)
    assert fetch(stage).asked == 0
    hours = stage.sql("SELECT extract(epoch FROM profiles_after - now()) / 3600 AS hours FROM otn.page")[0].hours
    assert 23 < hours <= 24


def test_a_profile_is_asked_for_again_after_its_days_and_keeps_what_does_not_come(stage: Stage) -> None:
    psid = come(stage)[0]
    fetch(stage, OTN_PROFILE_DAYS="3")
    days = stage.sql("SELECT extract(epoch FROM profile_due_at - now()) / 86400 AS days FROM otn.subscriber")[0].days
    assert 2.9 < days <= 3
    name = known(stage)[psid][0]
    stage.sandbox.profiles(stage.settings.page_id, "empty", psids=[psid])
    stage.sql("UPDATE otn.subscriber SET profile_due_at = now()")
    assert fetch(stage).unknown == 1
    assert known(stage)[psid] == (name, "no_access")


def test_a_halted_page_and_fields_of_none_ask_nothing(stage: Stage) -> None:
    come(stage)
    assert fetch(stage, OTN_PROFILE_FIELDS="none").asked == 0
    stage.sql("UPDATE otn.page SET halted_at = now(), halt_reason = 'tested'")
    assert fetch(stage).asked == 0


def test_it_takes_its_part_of_the_pace_and_steps_back_while_others_send(make_stage: Any) -> None:
    stage = make_stage(messages_per_second=20)
    come(stage, 9)
    assert fetch(stage).asked == 6
    stage.sql("UPDATE otn.pace SET next_at = clock_timestamp() + interval '1 min'")
    assert fetch(stage).asked == 0
    stage.sql("UPDATE otn.pace SET next_at = clock_timestamp()")
    assert fetch(stage).asked == 3


@pytest.mark.parametrize(
    ("fields", "profile"),
    [
        ({}, Profile()),
        ({"first_name": 7, "last_name": ["x"], "locale": -1, "timezone": "GMT+2"}, Profile()),
        ({"first_name": "  A\x00d\na ", "timezone": True}, Profile(first_name="Ad a")),
        ({"first_name": "\u202eadA\u2066"}, Profile(first_name="adA")),
        ({"first_name": "نی\u200cنی"}, Profile(first_name="نی\u200cنی")),
        ({"first_name": "x" * 5000, "locale": "y" * 50}, Profile(first_name="x" * 100, locale="y" * 20)),
        ({"first_name": "\ud800\x00", "timezone": 1e300}, Profile()),
        ({"timezone": float("nan")}, Profile()),
        ({"timezone": -7}, Profile(utc_offset=-7.0)),
        ({"timezone": 5.5}, Profile(utc_offset=5.5)),
    ],
)
def test_hostile_values_are_shortened_or_dropped(fields: dict[str, Any], profile: Profile) -> None:
    assert Profile.read(fields) == profile


def test_hostile_profiles_are_stored_like_any_other(stage: Stage) -> None:
    come(stage, 12, "hostile")
    assert fetch(stage, OTN_PROFILE_FIELDS="first_name,last_name,locale,timezone").asked == 12
    for row in stage.sql("SELECT first_name FROM otn.subscriber WHERE first_name IS NOT NULL"):
        assert 1 <= len(row.first_name) <= 100
        assert not {"\n", "\x00", "\u202e"} & set(row.first_name)


def test_settings() -> None:
    assert read_profile_settings({}) == ProfileSettings(("first_name",), 90)
    assert read_profile_settings({"OTN_PROFILE_FIELDS": "none"}).fields == ()
    named = {"OTN_PROFILE_FIELDS": "locale, first_name,locale", "OTN_PROFILE_DAYS": "7"}
    assert read_profile_settings(named) == ProfileSettings(("locale", "first_name"), 7)
    with pytest.raises(ConfigurationError, match=r"names 'gender'\. Choose from first_name"):
        read_profile_settings({"OTN_PROFILE_FIELDS": "first_name,gender"})
    for days in ("0", "x", "-1", "5000"):
        with pytest.raises(ConfigurationError, match="Give a number of days"):
            read_profile_settings({"OTN_PROFILE_DAYS": days})
