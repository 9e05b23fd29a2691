"""The page of one campaign: what it tells, and what it lets people decide."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from otn.campaign import control
from otn.console import figures
from otn.console.airflow_run import Run
from otn.console.triggering import NotTriggeredError, trigger
from otn.database import Engine
from tests.console.shop import Shop

Visit = Callable[..., TestClient]
Write = Callable[..., Any]

SETTLE = """
UPDATE otn.recipient r SET state = (%(state)s)::otn.recipient_state, attempts = 1, attempt_id = gen_random_uuid(),
    unanswered = CASE WHEN %(state)s = 'unknown' THEN 1 ELSE 0 END, reason = %(reason)s, error_code = %(code)s,
    error_subcode = %(subcode)s, retry_worth = %(worth)s,
    evidence = CASE WHEN %(state)s = 'sent' THEN 'answer'::otn.evidence END,
    message_id = CASE WHEN %(state)s = 'sent' THEN 'm_' || r.subscriber_id END,
    sent_at = CASE WHEN %(state)s = 'sent' THEN now() - (%(ago)s)::interval END,
    updated_at = now() - (%(ago)s)::interval
FROM (SELECT campaign_id, subscriber_id FROM otn.recipient WHERE campaign_id = %(campaign)s AND state = 'waiting'
      ORDER BY subscriber_id LIMIT %(people)s) AS next
WHERE r.campaign_id = next.campaign_id AND r.subscriber_id = next.subscriber_id
"""
EVENT = """
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, webhook_day, webhook_id)
SELECT sha256(convert_to(kind || s.id, 'UTF8')), s.page_id, s.id, kind::otn.event_kind,
       now() + (%s)::interval, current_date, gen_random_uuid()
FROM otn.subscriber s, unnest(%s::text[]) AS kind WHERE s.id = ANY (%s)
"""


class Airflow:
    """Stands for Airflow: takes runs, or refuses them."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, dict[str, Any], str]] = []
        self.fault: Exception | None = None

    def __call__(self, dag_id: str, conf: dict[str, Any], note: str) -> Run:
        if self.fault:
            raise self.fault
        self.runs.append((dag_id, dict(conf), note))
        return Run(dag_id, f"manual__{len(self.runs)}")


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


@pytest.fixture
def ann(visit: Visit, airflow: Airflow) -> TestClient:
    """Somebody who may act."""
    client = visit("user", "ann")
    client.app.dependency_overrides[trigger] = lambda: airflow  # type: ignore[attr-defined]
    return client


@pytest.fixture
def settle(write: Write, database: Engine) -> Callable[..., None]:
    """Lets so many people who wait end in a state."""

    def run(campaign: int, people: int, state: str, **how: Any) -> None:
        values = {"reason": None, "code": None, "subcode": None, "worth": False, "ago": "5 seconds", **how}
        connection = database.raw_connection()
        try:
            connection.cursor().execute(SETTLE, {"campaign": campaign, "people": people, "state": state, **values})
            connection.commit()
        finally:
            connection.close()
        figures.forget(database, campaign)

    return run


@pytest.fixture
def spring(shop: Shop) -> int:
    """A campaign that sends to ten people."""
    shop.opt_in("restock", 10)
    return shop.planned("spring")


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in (figures.FIGURES, figures.AFTERMATH):
        monkeypatch.setattr(kept, "get", lambda *a, _get=kept.get, **_: _get(*a, patience_s=30))


def state_of(database: Engine, campaign: int) -> str:
    return control.get(database, campaign).state.value


def text_of(page: str) -> str:
    """What a reader sees, without marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


def said(answer: Any) -> str:
    """The word that a decision leads back with."""
    assert answer.status_code == 303, answer.text
    return parse_qs(urlsplit(answer.headers["location"]).query)["said"][0]


def test_the_page_says_what_is_sent_to_whom_and_what_they_agreed_to(ann: TestClient, shop: Shop) -> None:
    shop.opt_in("restock", 2)
    campaign = shop.campaign(
        "spring", include_labels=("vip",), message={"text": 'Hi {{ first_name | default("you") }}!'}
    )
    page = text_of(ann.get(f"/campaigns/{campaign}").text)
    assert "Hi Alex!" in page
    assert "Back in stock" in page
    assert "with the label vip" in page
    assert "Who gets it is written down at the moment it starts" in page
    assert "by ann" in page


def test_what_an_operator_wrote_is_text_and_never_markup(ann: TestClient, shop: Shop, write: Write) -> None:
    shop.opt_in("restock", 1)
    campaign = shop.planned("<b>key</b>", message={"text": "<script>alert(1)</script>"})
    control.cancel(shop.engine, campaign, actor="<i>ann</i>", reason="<u>so</u>")
    page = ann.get(f"/campaigns/{campaign}").text
    for text in ("<b>key", "<script>alert", "<i>ann", "<u>so"):
        assert text not in page
    assert "&lt;u&gt;so" in page


def test_progress_pace_and_time_left_are_told(ann: TestClient, spring: int, write: Write, settle: Any) -> None:
    write("UPDATE otn.campaign SET planned_at = now() - interval '1 hour', started_at = now() - interval '1 hour'")
    settle(spring, 4, "sent", ago="20 seconds")
    settle(spring, 2, "sent", ago="10 minutes")
    page = text_of(ann.get(f"/campaigns/{spring}/live").text)
    assert "6 of 10" in page
    assert "0.1 a second in the last minute · about 1 min to go" in page
    settle(spring, 4, "sent", ago="10 minutes")
    assert "to go" not in text_of(ann.get(f"/campaigns/{spring}/live").text).split("Counted")[0]


def test_nobody_reached_lately_is_said_instead_of_a_guess(
    ann: TestClient, spring: int, write: Write, settle: Any
) -> None:
    write("UPDATE otn.campaign SET planned_at = now() - interval '1 hour', started_at = now() - interval '1 hour'")
    settle(spring, 4, "sent", ago="10 minutes")
    assert "nobody was reached in the last minute" in text_of(ann.get(f"/campaigns/{spring}/live").text)


def test_the_end_is_honest(ann: TestClient, spring: int, database: Engine, settle: Any) -> None:
    settle(spring, 5, "sent")
    settle(spring, 3, "refused", code=551, subcode=1545041, worth=True)
    settle(spring, 2, "unknown", reason="read_timeout")
    control.end_run(database, spring)
    page = text_of(ann.get(f"/campaigns/{spring}").text)
    assert "finished 5 sent, 3 refused, 2 unconfirmed " in page
    assert "This person is not available right now." in page
    assert "551/1545041" in page
    assert "no answer came in time" in page
    assert "Of 2 people nobody knows" in page
    assert "The run ended: finished, 2 unconfirmed." in page


def test_the_funnel_narrows_from_plan_to_reaction(
    ann: TestClient, spring: int, database: Engine, write: Write, settle: Any
) -> None:
    settle(spring, 8, "sent", ago="1 minute")
    settle(spring, 2, "skipped", reason="suppressed")
    write("UPDATE otn.campaign SET planned_at = now() - interval '1 hour', started_at = now() - interval '1 hour'")
    write("UPDATE otn.recipient SET delivered_at = now() WHERE state = 'sent' AND subscriber_id <= 7")
    write("UPDATE otn.recipient SET read_at = now() WHERE state = 'sent' AND subscriber_id <= 5")
    write(EVENT, "0 s", ["message", "reaction"], [1, 2])  # both, once a person
    write(EVENT, "0 s", ["delivery", "echo"], [3])  # no word of theirs
    write(EVENT, "-2 minutes", ["postback"], [4])  # before it
    write(EVENT, "8 days", ["postback"], [5])  # long after it
    write(
        "INSERT INTO otn.suppression (subscriber_id, reason, topic_id)"
        " SELECT 6, 'stop_word', topic_id FROM otn.campaign"
    )
    write("INSERT INTO otn.suppression (subscriber_id, reason) VALUES (7, 'unreachable')")
    write("INSERT INTO otn.suppression (subscriber_id, reason, since) VALUES (8, 'operator', now() - interval '1 day')")
    page = ann.get(f"/campaigns/{spring}").text
    table = page.split('class="funnel"', 1)[1].split("</table>", 1)[0]
    people = re.findall(r'<td class="num">([\d,]+)</td>', table)
    assert people == ["10", "8", "7", "5", "2"]
    assert "1 person opted out within 7 days after it" in text_of(page)
    assert "said stop, or were silenced, after the plan" in page


def test_who_was_left_out_is_told_with_the_reason(ann: TestClient, shop: Shop, write: Write) -> None:
    shop.opt_in("restock", 3)
    write("UPDATE otn.subscriber SET labels = '{vip}' WHERE id = 1")
    campaign = shop.planned("spring", include_labels=("vip",))
    assert re.search(r"lack a label</th><td[^>]*>2<", ann.get(f"/campaigns/{campaign}").text)


def test_sends_over_time_stand_in_a_chart_and_in_a_table(
    ann: TestClient, spring: int, write: Write, settle: Any
) -> None:
    write("UPDATE otn.campaign SET planned_at = now() - interval '20 min', started_at = now() - interval '20 min'")
    settle(spring, 3, "sent", ago="19 minutes")
    settle(spring, 2, "sent", ago="1 minute")
    page = ann.get(f"/campaigns/{spring}").text
    assert "<svg" in page
    figures_of = page.split('id="times-figures"', 1)[1].split("</details>", 1)[0]
    counts = [int(one) for one in re.findall(r'<td class="num">(\d+)</td>', figures_of)]
    assert (counts[0], counts[-1], sum(counts)) == (3, 2, 5)
    assert 0 in counts  # the pause between them is seen


def test_a_million_is_not_waited_for(ann: TestClient, spring: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otn.console.campaign.FIGURES", NeverReady())
    monkeypatch.setattr("otn.console.campaign.AFTERMATH", NeverReady())
    page = ann.get(f"/campaigns/{spring}")
    assert page.status_code == 200
    assert "being counted" in page.text


class NeverReady:
    def get(self, *_: Any, **__: Any) -> None:
        return None

    forget = get


def test_figures_of_another_state_judge_nothing(
    ann: TestClient, spring: int, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = figures.FIGURES.get(database, spring)
    control.pause(database, spring, actor="bob")
    monkeypatch.setattr(figures.FIGURES, "get", lambda *_, **__: old)
    page = text_of(ann.get(f"/campaigns/{spring}/live").text)
    assert "paused The figures are being counted." in page
    assert "10 to go" not in page


def test_pause_and_resume(ann: TestClient, airflow: Airflow, spring: int, database: Engine) -> None:
    assert said(ann.post(f"/campaigns/{spring}/pause")) == "paused"
    assert state_of(database, spring) == "paused"
    page = ann.get(f"/campaigns/{spring}?said=paused").text
    assert "everyone else keeps waiting" in page
    assert re.search(r"<strong>ann</strong>: Paused\.", page)
    answer = ann.post(f"/campaigns/{spring}/resume")
    assert said(answer) == "resumed"
    assert state_of(database, spring) == "sending"
    conf = {"campaign": "spring", "page": "messenger_default", "scope": "waiting"}
    assert [one[:2] for one in airflow.runs] == [("otn_retry", conf)]
    assert "The run manual__1 of otn_retry sends" in ann.get(answer.headers["location"]).text


def test_without_a_run_a_resumed_campaign_is_paused_again(
    ann: TestClient, airflow: Airflow, spring: int, database: Engine
) -> None:
    control.pause(database, spring, actor="bob")
    for fault in (NotTriggeredError("The DAG otn_retry is paused."), HTTPException(403, "You may not.")):
        airflow.fault = fault
        answer = ann.post(f"/campaigns/{spring}/resume")
        assert answer.status_code == 409
        assert "The campaign is paused, and everyone keeps waiting." in answer.text
        assert state_of(database, spring) == "paused"


def test_a_held_page_is_not_set_free_by_a_campaign(
    ann: TestClient, airflow: Airflow, spring: int, database: Engine, write: Write
) -> None:
    control.pause(database, spring, actor="bob")
    write("UPDATE otn.page SET halted_at = now(), halt_held = true, halt_reason = 'by hand'")
    answer = ann.post(f"/campaigns/{spring}/resume")
    assert answer.status_code == 409
    assert "Not done" in answer.text
    assert not airflow.runs


def test_cancel_gives_up_those_who_wait(ann: TestClient, spring: int, database: Engine, settle: Any) -> None:
    settle(spring, 4, "sent")
    answer = ann.post(f"/campaigns/{spring}/cancel", data={"reason": "wrong price"})
    assert said(answer) == "cancelled"
    assert state_of(database, spring) == "cancelled"
    page = text_of(ann.get(answer.headers["location"]).text)
    assert "cancelled 4 sent, 6 given up " in page
    assert "Cancelled: wrong price. 6 people who waited: given up." in page


def test_a_cancel_without_a_fitting_reason_names_the_field_and_keeps_what_was_typed(
    ann: TestClient, spring: int, database: Engine
) -> None:
    for typed, sentence in (("  ", "Say why"), ("x" * 301, "301 characters")):
        answer = ann.post(f"/campaigns/{spring}/cancel", data={"reason": typed})
        assert answer.status_code == 422
        assert sentence in answer.text
        assert 'aria-invalid="true"' in answer.text
        assert f'value="{typed}"' in answer.text
        assert state_of(database, spring) == "sending"


def test_a_retry_is_a_run_of_airflow(ann: TestClient, airflow: Airflow, spring: int) -> None:
    for scope in ("waiting", "refused", "unknown"):
        assert said(ann.post(f"/campaigns/{spring}/retry", data={"scope": scope})) == "retried"
        conf = {"campaign": "spring", "page": "messenger_default", "scope": scope}
        assert airflow.runs[-1][:2] == ("otn_retry", conf)
        assert "ann" in airflow.runs[-1][2]


def test_each_way_to_retry_says_how_many_it_takes(ann: TestClient, spring: int, write: Write, settle: Any) -> None:
    settle(spring, 3, "refused", code=551, worth=True)
    settle(spring, 1, "refused", code=100)
    settle(spring, 2, "unknown", reason="lease_lost")
    write("INSERT INTO otn.suppression (subscriber_id, reason) VALUES (1, 'operator')")  # of those worth a retry
    buttons = re.findall(r"<button[^>]*aria-describedby=\"way-(\w+)\">(.*?) who", ann.get(f"/campaigns/{spring}").text)
    assert buttons == [("waiting", "4 people"), ("refused", "2 people"), ("unknown", "2 people")]


def test_a_scope_that_is_none_starts_nothing(ann: TestClient, airflow: Airflow, spring: int) -> None:
    answer = ann.post(f"/campaigns/{spring}/retry", data={"scope": "everyone"})
    assert answer.status_code == 422
    assert "Choose whom" in answer.text
    assert not airflow.runs


def end(database: Engine, campaign: int) -> None:
    control.cancel(database, campaign, actor="bob", reason="meanwhile")


def finish(database: Engine, campaign: int) -> None:
    connection = database.raw_connection()
    connection.cursor().execute("UPDATE otn.recipient SET state = 'skipped', reason = 'erased'")
    connection.commit()
    connection.close()
    control.end_run(database, campaign)


def hold(database: Engine, campaign: int) -> None:
    control.pause(database, campaign, actor="bob")


MEANWHILE = {
    hold: [("pause", "was_paused")],
    finish: [
        ("pause", "is finished; only one that is sending can be paused"),
        ("resume", "is finished; there is nothing to resume"),
        ("cancel", "is finished; there is nothing to cancel"),
    ],
    end: [
        ("pause", "is cancelled; only one that is sending can be paused"),
        ("resume", "is cancelled; there is nothing to resume"),
        ("cancel", "was_cancelled"),
        ("retry", "cancelled meanwhile"),
    ],
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_what_somebody_else_did_meanwhile_is_said(
    ann: TestClient, airflow: Airflow, spring: int, database: Engine, meanwhile: Callable[[Engine, int], None]
) -> None:
    meanwhile(database, spring)
    for action, expected in MEANWHILE[meanwhile]:
        answer = ann.post(f"/campaigns/{spring}/{action}", data={"reason": "so", "scope": "waiting"})
        if answer.status_code == 303:
            assert said(answer) == expected
            assert "already" in ann.get(answer.headers["location"]).text
        else:
            assert answer.status_code == 409
            assert expected in answer.text
            assert 'role="alert"' in answer.text
    assert not airflow.runs


def test_a_campaign_that_sends_needs_no_second_run(ann: TestClient, airflow: Airflow, spring: int) -> None:
    assert said(ann.post(f"/campaigns/{spring}/resume")) == "was_sending"
    assert not airflow.runs


def test_who_may_only_look_is_offered_nothing_to_do(visit: Visit, spring: int) -> None:
    page = visit("viewer").get(f"/campaigns/{spring}").text
    assert "<form" not in page
    assert "/compose?from" not in page
    assert f"/campaigns/{spring}/recipients" in page


def test_a_campaign_that_is_not_there(ann: TestClient) -> None:
    for number in ("77", str(2**63 - 1)):
        answer = ann.get(f"/campaigns/{number}")
        assert answer.status_code == 404
        assert "There is no campaign number" in answer.text
        assert ann.post(f"/campaigns/{number}/pause").status_code == 404
    for number in ("0", "-1", str(2**63), "spring"):
        assert ann.get(f"/campaigns/{number}").status_code == 400


def test_a_live_part_that_is_over_ends_the_asking(ann: TestClient, spring: int, database: Engine, write: Write) -> None:
    assert "data-over" not in ann.get(f"/campaigns/{spring}/live").text
    finish(database, spring)
    figures.forget(database, spring)
    assert "data-over" not in ann.get(f"/campaigns/{spring}/live").text  # deliveries still come in
    write("UPDATE otn.campaign SET finished_at = now() - interval '2 hours'")
    assert "data-over" in ann.get(f"/campaigns/{spring}/live").text


def test_the_history_names_people_and_leads_to_their_runs(ann: TestClient, spring: int, database: Engine) -> None:
    control.pause(database, spring, actor="bob (otn_broadcast manual__2026-11-22T10:00:00+00:00)")
    page = ann.get(f"/campaigns/{spring}").text
    assert "<strong>bob</strong>: Paused." in page
    assert 'href="/dags/otn_broadcast/runs/manual__2026-11-22T10%3A00%3A00%2B00%3A00"' in page
