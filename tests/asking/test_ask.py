from __future__ import annotations

import threading
from typing import Any

import pytest

from otn.asking.ask import (
    AskDiffersError,
    AskSpec,
    AskUnknownError,
    TopicNotRegisteredError,
    count_people,
    find,
    listing,
)
from otn.asking.gates import EEA, FeatureBarredError, check_feature, gated_regions
from otn.database import transaction
from otn.errors import ConfigurationError
from otn.messenger.client import MessengerClient, PageCredentials
from tests.asking.desk import Desk
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]


def excluded(desk: Desk, **values: Any) -> tuple[int, dict[str, int]]:
    """Who would be asked and who not; counted and planned are the same."""
    spec = AskSpec("counted", **values)
    counts = count_people(desk.engine, spec, desk.page, desk.topic)
    opened = desk.open("counted", **values)
    assert (opened.asked, opened.excluded) == (counts["asked"], counts["excluded"])
    return opened.asked, opened.excluded


def test_people_whose_window_is_open_are_asked_and_the_others_are_not_counted(desk: Desk) -> None:
    now = desk.people(2)
    desk.people(1, ago="23 hours 57 minutes")
    desk.people(3, ago="25 hours")
    opened = desk.open()
    assert (opened.asked, opened.excluded) == (2, {"window_closing": 1})
    assert desk.send().states == {"sent": 2}
    assert desk.seen() == dict.fromkeys(now, 1)
    figures = desk.report(opened)
    assert (figures["asked"], figures["sent"], figures["tapped"]) == (2, 2, 0)


def test_the_card_carries_topic_and_reference_and_its_tap_gives_a_token(desk: Desk) -> None:
    psid = desk.people()[0]
    desk.open(ref="shoe-42")
    desk.send()
    token = desk.sandbox.tap(desk.settings.page_id, psid)
    payload = next(
        row["payload"] for row in desk.sandbox.rows("tokens", page_id=desk.settings.page_id) if row["token"] == token
    )
    assert payload == '{"topic":"restock","ref":"shoe-42"}'


def test_each_reason_for_leaving_somebody_out(desk: Desk) -> None:
    people = desk.people(12)
    (stopped, stopped_here, came_back, objected, unreachable, spoke_again, held, used_up, gone, vip, tired, fresh) = (
        people
    )
    desk.stop(stopped)
    desk.stop(stopped_here, topic=desk.topic_row)
    desk.stop(came_back, ago="2 days")
    old = desk.token(came_back, at="1 day")
    for psid, reason, ago in (
        (objected, "operator", "0 s"),
        (unreachable, "unreachable", "0 s"),
        (spoke_again, "unreachable", "1 day"),
    ):
        desk.sql(
            "INSERT INTO otn.suppression (subscriber_id, reason, since)"
            " SELECT id, %s, clock_timestamp() - %s::interval FROM otn.subscriber WHERE psid = %s",
            reason, ago, psid,
        )  # fmt: skip
    desk.token(held)
    desk.token(used_up, at="300 days", ends="-1 days")
    desk.sql("UPDATE otn.token SET token_encrypted = NULL, wiped_at = now() WHERE id = %s", old)
    desk.sql("UPDATE otn.subscriber SET psid = NULL, first_name = NULL, erased_at = now() WHERE psid = %s", gone)
    desk.sql("UPDATE otn.subscriber SET labels = '{vip}' WHERE psid = %s", vip)
    desk.sql("UPDATE otn.subscriber SET labels = '{tired}' WHERE psid = %s", tired)
    asked, reasons = excluded(desk, exclude_labels=("tired",))
    assert reasons == {"suppressed": 3, "unreachable": 1, "has_token": 1, "erased": 1, "label_excluded": 1}
    assert asked == 5
    desk.send()
    assert set(desk.seen()) == {came_back, spoke_again, used_up, vip, fresh}


def test_labels_filter_and_regions(desk: Desk) -> None:
    desk.people(1, labels=["vip"], locale="en_US", attributes='{"city": "Oslo"}')
    desk.people(1, labels=["vip"], locale="en_US", attributes='{"city": "Rome"}')
    desk.people(1, labels=["vip"], locale="fr_FR", attributes='{"city": "Oslo"}')
    desk.people(1, labels=["vip"], locale="en_GB", attributes='{"city": "Oslo"}')
    desk.people(1, labels=["vip"], locale="en-us", attributes='{"city": "Oslo"}', ago="5 hours")
    desk.people(1)
    asked, reasons = excluded(
        desk,
        include_labels=("vip",),
        filter={"attributes": {"city": ["Oslo"]}, "locale": ["en_US", "fr_FR", "en_GB", "en-us"]},
        gated=gated_regions({}),
    )
    assert reasons == {"label_missing": 1, "attribute_differs": 1, "region_gated": 2}
    assert asked == 2
    assert excluded_again(desk, "interacted", filter={"interacted_from": moment(desk, "1 hour")}) == {
        "interaction_outside": 1,
        "asked_recently": 1,
    }
    assert excluded_again(desk, "locale", filter={"locale": ["fr_FR"]})["locale_differs"] >= 4


def excluded_again(desk: Desk, key: str, **values: Any) -> dict[str, int]:
    return count_people(desk.engine, AskSpec(key, **values), desk.page, desk.topic)["excluded"]  # type: ignore[no-any-return]


def moment(desk: Desk, ago: str) -> str:
    return str(desk.sql("SELECT (clock_timestamp() - %s::interval)::text", ago)[0][0])


def long_ago(desk: Desk, ago: str) -> None:
    desk.sql(
        "UPDATE otn.window_message SET created_at = created_at - %s::interval, called_at = called_at - %s::interval",
        ago,
        ago,
    )


def test_somebody_of_an_unknown_country_is_asked(desk: Desk) -> None:
    desk.people(1)
    desk.people(1, locale="weird")
    assert excluded(desk, gated=gated_regions({})) == (2, {})


def test_nobody_is_asked_again_within_thirty_days_about_whatever_topic(desk: Desk) -> None:
    desk.people(2)
    assert desk.open().asked == 2
    desk.send()
    assert desk.open("second").excluded == {"asked_recently": 2}
    long_ago(desk, "31 days")
    assert desk.open("third").asked == 2


def test_a_card_that_was_never_sent_does_not_count(desk: Desk) -> None:
    desk.people(1)
    desk.open()
    desk.sql("UPDATE otn.window_message SET state = 'skipped', reason = 'window_closed'")
    assert desk.open("second").asked == 1


def test_two_unanswered_cards_are_enough_until_the_person_taps(desk: Desk) -> None:
    psid, new = desk.people(2)
    for _ in range(2):
        desk.answer(psid)
        desk.send()
    assert desk.open().excluded == {"unanswered": 1}
    desk.send()
    long_ago(desk, "40 days")
    desk.sql(
        "UPDATE otn.window_message SET tapped_at = now()"
        " WHERE id = (SELECT max(id) FROM otn.window_message WHERE cause = 'rule')"
    )
    token = desk.token(psid, at="30 days")
    desk.sql("UPDATE otn.token SET token_encrypted = NULL, wiped_at = now() WHERE id = %s", token)
    assert desk.open("later").asked == 2, "what was answered resets the count"
    desk.send()
    assert desk.seen() == {psid: 3, new: 2}


def test_the_stock_counts_usable_consents_and_those_of_the_reference(desk: Desk) -> None:
    one, two, other = desk.people(3)
    desk.token(one, ref="shoe")
    desk.token(two, ref="shoe")
    desk.token(two, ref="shoe")
    desk.token(other, ref="hat")
    assert excluded_again(desk, "any") == {"has_token": 3}
    assert excluded_again(desk, "shoe", ref="shoe") == {"has_token": 2}
    assert excluded_again(desk, "more", ref="shoe", stock=2, stock_reason="two sales") == {"has_token": 1}
    desk.stop(two, ago="-1 s")
    assert excluded_again(desk, "stopped", ref="shoe") == {"has_token": 1, "suppressed": 1}


def test_a_token_that_a_campaign_holds_is_no_stock(desk: Desk) -> None:
    psid = desk.people()[0]
    token = desk.token(psid)
    desk.sql(
        "INSERT INTO otn.campaign"
        " (page_id, topic_id, key, message, content_hash, needs_approval, state, planned_at, chunks)"
        " VALUES (%s, %s, 'spring', '{}', sha256('x'), false, 'sending', now(), 1)", desk.page_row, desk.topic_row
    )  # fmt: skip
    assert excluded_again(desk, "free") == {"has_token": 1}
    desk.sql(
        "INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk)"
        " SELECT c.id, t.subscriber_id, t.id, 1 FROM otn.campaign c, otn.token t WHERE t.id = %s", token
    )  # fmt: skip
    assert excluded_again(desk, "held") == {}


def test_whose_window_closes_first_comes_first(desk: Desk) -> None:
    desk.people(1, ago="1 hour")
    first = desk.people(1, ago="20 hours")[0]
    assert excluded(desk, max_people=1) == (1, {"over_max_people": 1})
    desk.send()
    assert desk.seen() == {first: 1}


def test_the_same_key_resumes_and_other_params_are_refused(desk: Desk) -> None:
    desk.people(2)
    first = desk.open()
    desk.people(1)
    again = desk.open()
    assert (again.id, again.asked, again.resumed) == (first.id, 2, True)
    with pytest.raises(AskDiffersError, match="other params"):
        desk.open(ref="shoe")
    assert [row["asked"] for row in listing(desk.engine)] == [2]
    assert find(desk.engine, desk.page_row, "first") == first.id
    with pytest.raises(AskUnknownError, match="asks list"):
        find(desk.engine, desk.page_row, "none")


def test_two_asks_at_once_choose_different_people(desk: Desk) -> None:
    people = desk.people(30)
    threads = [threading.Thread(target=desk.open, args=(f"key-{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(row["asked"] for row in listing(desk.engine)) == len(people)
    desk.send()
    assert desk.seen() == dict.fromkeys(people, 1)


def test_what_was_overridden_stands_in_the_ask_and_in_the_audit(desk: Desk) -> None:
    desk.people(1, locale="de_DE")
    opened = desk.open(gate_reason="legal said yes on Monday")
    assert desk.report(opened)["gate_reason"] == "legal said yes on Monday"
    detail = desk.sql("SELECT detail FROM otn.audit WHERE action = 'asked'")[0][0]
    assert detail["gates_overridden"] == "legal said yes on Monday"
    assert detail["asked"] == 1


def test_a_topic_without_a_title_cannot_be_asked_about(desk: Desk) -> None:
    desk.sql("UPDATE otn.topic SET title = NULL, registered_at = NULL")
    with pytest.raises(TopicNotRegisteredError, match="otn topics add"):
        desk.open()


def test_nobody_of_another_page_is_asked(desk: Desk, make_desk: Any) -> None:
    other = make_desk(connection_id="other_page")
    other.people(2)
    desk.people(1)
    assert desk.open().asked == 1
    with transaction(desk.engine) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM otn.window_message WHERE page_id <> %s", (desk.page_row,))
        assert cursor.fetchone() == (0,)


# ── gates


def test_regions_that_are_gated() -> None:
    assert set(gated_regions({})) == EEA | {"GB", "JP"}
    assert gated_regions({"OTN_ASK_GATED_REGIONS": " jp , de "}) == ("DE", "JP")
    assert gated_regions({"OTN_ASK_GATED_REGIONS": "none"}) == ()
    assert len(EEA) == 30
    with pytest.raises(ConfigurationError, match="'EUROPE'"):
        gated_regions({"OTN_ASK_GATED_REGIONS": "EUROPE"})


@pytest.mark.parametrize("status", ["pending", "rejected", "limited", "PENDING"])
def test_a_page_whose_feature_is_not_granted_may_not_ask(make_desk: Any, status: str) -> None:
    desk = make_desk(features={"one_time_notification": status})
    with pytest.raises(FeatureBarredError, match="override_reason"):
        check_feature(desk.client, {})
    assert check_feature(desk.client, {"OTN_FEATURE": "^something else$"}) != []
    with pytest.raises(ConfigurationError, match="no regular expression"):
        check_feature(desk.client, {"OTN_FEATURE": "("})


def test_a_feature_that_is_not_listed_or_cannot_be_read_is_a_warning(make_desk: Any) -> None:
    assert check_feature(make_desk().client, {}) == []
    assert "does not list" in check_feature(make_desk(connection_id="b", features={}).client, {})[0]
    nobody = MessengerClient(PageCredentials("http://127.0.0.1:9", "1", "x"), connect_timeout_s=0.2, read_timeout_s=0.2)
    assert "is not known" in check_feature(nobody, {})[0]
