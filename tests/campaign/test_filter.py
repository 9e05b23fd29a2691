"""Whom a campaign's filter leaves in, why not the others, with which token; and the labels that its results put on."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otn.campaign import control
from otn.campaign.approval import start_question
from otn.campaign.audience import count
from otn.campaign.labelling import label_results
from otn.campaign.model import CampaignSpec
from otn.consent import subscribers
from otn.consent.filters import read_filter
from otn.consent.pages import Page
from otn.consent.subscribers import Change, Chosen
from otn.database import DatabaseError
from tests.campaign.stage import Stage
from tests.clean import database, emptied_url

__all__ = ["database", "emptied_url"]


NOW = datetime.now(UTC).replace(microsecond=0)


def day(days: float) -> str:
    """A moment so many days from now, as people write it."""
    return (NOW + timedelta(days=days)).isoformat()


def change(stage: Stage, psid: str, **columns: Any) -> None:
    changes = ", ".join(f"{column} = %s" for column in columns)
    stage.sql(f"UPDATE otn.subscriber SET {changes} WHERE psid = %s", *columns.values(), psid)


def token(stage: Stage, psid: str, **columns: Any) -> None:
    changes = ", ".join(f"{column} = %s" for column in columns)
    whose = "subscriber_id = (SELECT id FROM otn.subscriber WHERE psid = %s)"
    stage.sql(f"UPDATE otn.token SET {changes} WHERE {whose}", *columns.values(), psid)


def silence(stage: Stage, psid: str, reason: str, since: str = "now()") -> None:
    stage.sql(
        f"INSERT INTO otn.suppression (subscriber_id, reason, since) SELECT id, %s, {since} FROM otn.subscriber"
        " WHERE psid = %s",
        *(reason, psid),
    )


def reasons(stage: Stage, campaign: int) -> dict[str, str]:
    rows = stage.sql(
        "SELECT s.psid, x.reason FROM otn.exclusion x JOIN otn.subscriber s ON s.id = x.subscriber_id"
        " WHERE x.campaign_id = %s",
        campaign,
    )
    return dict(rows)


def counted(stage: Stage, chosen_by: dict[str, Any], **bounds: Any) -> Any:
    wanted = {"include_labels": (), "exclude_labels": (), "max_recipients": None, **bounds}
    return count(stage.engine, topic_id=stage.topic_row, chosen_by=chosen_by, **wanted)


EVERYTHING = {
    "ref": ["sku-1", "sku-2"],
    "locale": ["de_DE", "en_US"],
    "attributes": {"city": ["Oslo", "Bergen"], "size": ["42"]},
    "opted_in_from": day(-90),
    "opted_in_until": day(-60),
    "interacted_from": day(-30),
    "interacted_until": day(-10),
}
CITY = {"city": "Oslo", "size": "42"}


def everything_right(stage: Stage, psid: str) -> None:
    facts = {"locale": "en_US", "attributes": json.dumps(CITY), "labels": ["vip"], "last_interaction_at": day(-30)}
    change(stage, psid, **facts)
    token(stage, psid, ref="sku-1", opted_in_at=day(-90), expires_at=day(200))


def test_each_field_leaves_out_whom_it_should_for_the_right_reason(stage: Stage) -> None:
    wrong: list[tuple[str, str, dict[str, Any]]] = [
        ("locale_differs", "person", {"locale": "fr_FR"}),
        ("locale_differs", "person", {"locale": None}),
        ("attribute_differs", "person", {"attributes": '{"city": "Oslo"}'}),
        ("attribute_differs", "person", {"attributes": '{"city": "Paris", "size": "42"}'}),
        ("interaction_outside", "person", {"last_interaction_at": None}),
        ("interaction_outside", "person", {"last_interaction_at": day(-30.001)}),
        ("interaction_outside", "person", {"last_interaction_at": day(-10)}),
        ("ref_differs", "token", {"ref": "sku-3"}),
        ("ref_differs", "token", {"ref": None}),
        ("opt_in_outside", "token", {"opted_in_at": day(-60)}),
        ("opt_in_outside", "token", {"opted_in_at": day(-90.001)}),
    ]
    people = stage.opt_in(len(wrong) + 2)
    for psid in people:
        everything_right(stage, psid)
    for psid, (_, whose, columns) in zip(people, wrong, strict=False):
        (change if whose == "person" else token)(stage, psid, **columns)
    chosen_by = read_filter(EVERYTHING)
    audience = counted(stage, chosen_by)
    campaign = stage.planned(filter=chosen_by)
    expected = {psid: reason for psid, (reason, _, _) in zip(people, wrong, strict=False)}
    assert reasons(stage, campaign) == expected
    figures = stage.report(campaign)
    assert (figures["planned"], figures["excluded"]) == (audience.recipients, audience.excluded)
    assert audience.recipients == 2
    assert audience.excluded == dict(Counter(expected.values()))


def test_of_several_reasons_the_one_that_weighs_most_is_told(stage: Stage) -> None:
    """Each person lacks everything from their own place on; the person's reasons come before the token's."""
    order = [
        *("erased", "suppressed", "unreachable", "label_excluded", "label_missing", "locale_differs"),
        *("attribute_differs", "interaction_outside", "ref_differs"),
    ]
    people = stage.opt_in(len(order))
    for place, psid in enumerate(people):
        everything_right(stage, psid)
        token(stage, psid, ref="other")
        if place < 8:
            change(stage, psid, last_interaction_at=day(-400))
        if place < 7:
            change(stage, psid, attributes="{}")
        if place < 6:
            change(stage, psid, locale="fr_FR")
        if place < 5:
            change(stage, psid, labels=[])
        if place < 4:
            change(stage, psid, labels=["staff"])
        if place < 3:
            silence(stage, psid, "unreachable")
        if place < 2:
            silence(stage, psid, "operator")
    stage.sql(
        "UPDATE otn.subscriber SET erased_at = now(), psid = NULL, first_name = NULL, locale = NULL, labels = '{}'"
        " WHERE psid = %s",
        people[0],
    )
    campaign = stage.planned(include_labels=("vip",), exclude_labels=("staff",), filter=read_filter(EVERYTHING))
    told = reasons(stage, campaign)
    assert told.pop(None, None) == "erased"  # type: ignore[call-overload]
    assert [told[psid] for psid in people[1:]] == order[1:]


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("token_expired", {"expires_at": day(-1)}),
        ("token_silenced", {}),
        ("token_spent", {}),
        ("token_reserved", {}),
    ],
)
def test_what_became_of_a_token_is_told_before_what_it_is_about(
    stage: Stage, reason: str, spoil: dict[str, Any]
) -> None:
    psid = stage.opt_in(1)[0]
    everything_right(stage, psid)
    token(stage, psid, ref="other", **spoil)
    if reason == "token_silenced":
        # Newer than the consent at hand, older than the newest: the person may be asked for that one.
        silence(stage, psid, "stop_word", f"'{day(-80)}'")
        stage.sql(
            "INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, wiped_at, opted_in_at,"
            " expires_at) SELECT subscriber_id, topic_id, sha256('2'), NULL, now(), %s, %s FROM otn.token",
            *(day(-70), day(-5)),
        )
    if reason in {"token_spent", "token_reserved"}:
        other = stage.planned("other")
        if reason == "token_spent":
            stage.send(other)
    assert counted(stage, read_filter(EVERYTHING)).excluded == {reason: 1}


def test_of_two_tokens_the_one_that_matches_is_spent(stage: Stage) -> None:
    psid = stage.opt_in(1, tokens_per_person=(3, 3))[0]
    ids = [row[0] for row in stage.sql("SELECT id FROM otn.token ORDER BY id")]
    for number, ref, days in zip(ids, ("hat", "shoe", "shoe"), (10, 300, 200), strict=True):
        stage.sql(
            "UPDATE otn.token SET ref = %s, expires_at = opted_in_at + make_interval(days => %s) WHERE id = %s",
            *(ref, days, number),
        )
    shoes = stage.planned("shoes", text='Your {{ ref | default("thing") }} is back', filter={"ref": ["shoe"]})
    chosen = stage.sql("SELECT token_id FROM otn.recipient WHERE campaign_id = %s", shoes)
    assert [row[0] for row in chosen] == [ids[2]]
    assert stage.run(shoes)["sent"] == 1
    assert [row["message"]["text"] for row in stage.sandbox.ledger(stage.settings.page_id)] == ["Your shoe is back"]
    stage.run(stage.planned("shoes again", filter={"ref": ["shoe"]}))
    nobody = stage.planned("shoes, a third time", filter={"ref": ["shoe"]})
    assert reasons(stage, nobody) == {psid: "ref_differs"}
    assert stage.run(stage.planned("hats", filter={"ref": ["hat"]}))["sent"] == 1


def test_the_filter_comes_before_max_recipients_and_counts_as_planned(stage: Stage) -> None:
    people = stage.opt_in(6)
    for psid in people[:4]:
        token(stage, psid, ref="shoe")
    audience = counted(stage, {"ref": ["shoe"]}, max_recipients=3)
    assert (audience.recipients, audience.excluded) == (3, {"over_max_recipients": 1, "ref_differs": 2})
    figures = stage.report(stage.planned(filter={"ref": ["shoe"]}, max_recipients=3))
    assert (figures["planned"], figures["excluded"]) == (3, audience.excluded)


def test_the_question_before_the_start_counts_with_the_filter(stage: Stage) -> None:
    people = stage.opt_in(5)
    token(stage, people[0], ref="shoe")
    campaign = control.open_campaign(
        stage.engine,
        CampaignSpec(key="shoes", message={"text": "Hi"}, filter={"ref": ["shoe"]}),
        page_row_id=stage.page_row,
        facebook_page_id=stage.settings.page_id,
        topic_row_id=stage.topic_row,
        topic_key="restock",
        actor="test",
    )
    question = start_question(stage.engine, campaign.id)
    assert question is not None
    assert question.expected == 1


def test_another_filter_is_another_content_and_the_stored_one_is_frozen(stage: Stage) -> None:
    stage.opt_in(1)
    campaign = stage.open(filter=read_filter({"ref": ["b", "a"]}))
    assert stage.open(filter=read_filter({"ref": ["a", "b", "a"]})) == campaign
    with pytest.raises(control.ContentDiffersError):
        stage.open(filter={"ref": ["a"]})
    with pytest.raises(control.ContentDiffersError):
        stage.open()
    with pytest.raises(DatabaseError) as caught:
        stage.sql("UPDATE otn.campaign SET filter = '{}' WHERE id = %s", campaign)
    assert caught.value.constraint == "campaign_content_is_frozen"


def test_attributes_and_ref_stand_in_texts_with_fall_backs(stage: Stage) -> None:
    rich, poor = stage.opt_in(2)
    change(stage, rich, attributes='{"city": "Oslo", "first_name": "not this one"}')
    token(stage, rich, ref="sku-1")
    text = '{{ first_name }}: {{ ref | default("all") }} in {{ city | default("your town") }}'
    assert stage.run(stage.planned(text=text))["sent"] == 2
    seen = {row["psid"]: row["message"]["text"] for row in stage.sandbox.ledger(stage.settings.page_id)}
    assert seen == {rich: "P0: sku-1 in Oslo", poor: "P1: all in your town"}


# labels by result

CALLED = "attempts = 1, attempt_id = gen_random_uuid()"
SENT = f"state = 'sent', {CALLED}, evidence = 'answer', message_id = 'm', sent_at = now()"
LABELS = {"sent": ["got"], "refused": ["no"], "unknown": ["doubt"], "read": ["warm", "seen"], "delivered": ["got"]}


def results(stage: Stage, campaign: int, *changes: str) -> list[str]:
    """Recipients in the order of their numbers, each changed; answers their PSIDs."""
    rows = stage.sql(
        "SELECT s.id, s.psid FROM otn.recipient r JOIN otn.subscriber s ON s.id = r.subscriber_id"
        " WHERE r.campaign_id = %s ORDER BY 1",
        campaign,
    )
    for (number, _), change in zip(rows, changes, strict=False):
        stage.sql(f"UPDATE otn.recipient SET {change} WHERE campaign_id = {campaign} AND subscriber_id = {number}")
    return [psid for _, psid in rows]


def labels(stage: Stage) -> dict[str, list[str]]:
    return {psid: sorted(some) for psid, some in stage.sql("SELECT psid, labels FROM otn.subscriber") if some}


def test_results_put_their_labels_on_once_and_again_after_a_late_echo(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otn.campaign.labelling.SLICE_ROWS", 2)
    stage.opt_in(5)
    campaign = stage.planned(result_labels=LABELS)
    refused = f"state = 'refused', {CALLED}, error_code = 551"
    unknown = f"state = 'unknown', {CALLED}, unanswered = 1, reason = 'timeout'"
    read = f"{SENT}, delivered_at = now(), read_at = now()"
    sent, seen, no, doubt, _ = results(stage, campaign, SENT, read, refused, unknown)
    assert label_results(stage.engine, campaign).changed == 4
    assert labels(stage) == {sent: ["got"], seen: ["got", "seen", "warm"], no: ["no"], doubt: ["doubt"]}
    assert label_results(stage.engine, campaign).people == 0
    results(stage, campaign, "read_at = now()", "read_at = now()", "reason = NULL", f"{SENT}, unanswered = 0")
    assert label_results(stage.engine, campaign).changed == 2
    assert labels(stage)[doubt] == ["doubt", "got"]
    assert labels(stage)[sent] == ["got", "seen", "warm"]


def test_results_label_nobody_who_was_erased_and_no_other_campaign(stage: Stage) -> None:
    stage.opt_in(2)
    campaign = stage.planned(result_labels={"sent": ["got"]})
    results(stage, campaign, SENT, SENT)
    stage.sql(
        "UPDATE otn.subscriber SET erased_at = now(), psid = NULL, first_name = NULL"
        " WHERE id = (SELECT min(id) FROM otn.subscriber)"
    )
    assert label_results(stage.engine, campaign).changed == 1
    other = stage.planned("other")
    assert label_results(stage.engine, other).people == 0


def test_people_are_chosen_by_the_result_of_a_campaign(stage: Stage) -> None:
    stage.opt_in(3)
    campaign = stage.planned()
    sent, seen, _ = results(stage, campaign, SENT, f"{SENT}, delivered_at = now(), read_at = now()")
    page = Page(stage.page_row, stage.settings.page_id, "messenger_default")
    for result, people in (("sent", 2), ("read", 1), ("delivered", 1), ("refused", 0), ("skipped", 0)):
        chosen = Chosen(campaign_id=campaign, result=result)
        figures = subscribers.change_chosen(stage.engine, page, chosen, Change(add=(result,)))
        assert figures.changed == people
    assert labels(stage) == {sent: ["sent"], seen: ["delivered", "read", "sent"]}
