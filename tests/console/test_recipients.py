"""Recipients: who got it and who did not, walked by key, call by call, and as CSV."""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import Callable
from io import StringIO
from itertools import chain
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otn.campaign.report import export_columns
from otn.console import recipients
from otn.console.access import Visitor
from otn.console.recipients import COLUMNS, LINES, ROWS
from otn.database import Engine

Visit = Callable[..., TestClient]
Write = Callable[..., Any]

ANSWERED = """
UPDATE otn.recipient SET attempt_id = gen_random_uuid(), attempts = 1, state = %s::otn.recipient_state,
    evidence = %s::otn.evidence,
    message_id = %s, sent_at = CASE WHEN %s = 'sent' THEN now() END, error_code = %s, error_subcode = %s, reason = %s,
    unanswered = (%s = 'unknown')::integer
WHERE campaign_id = %s AND subscriber_id = (SELECT min(subscriber_id) + %s FROM otn.recipient WHERE campaign_id = %s)
"""

INTENT = """
INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender, at)
VALUES (%s, %s, %s, 'intent', 'task-7', now() - %s::interval)
"""
ANSWER = """
INSERT INTO otn.attempt
    (campaign_id, subscriber_id, attempt_id, step, sender, outcome, http_status, error_code, error_subcode, reason)
VALUES (%s, %s, %s, 'answer', 'task-7', %s, %s, %s, %s, %s)
"""


@pytest.fixture
def settle(write: Write) -> Callable[..., None]:
    def run(campaign: int, place: int, state: str, **said: Any) -> None:
        evidence, message = ("answer", f"m_{place}") if state == "sent" else (None, None)
        values = (state, evidence, message, state, said.get("code"), said.get("subcode"), said.get("reason"), state)
        write(ANSWERED, *values, campaign, place, campaign)

    return run


@pytest.fixture
def campaign(shop: Any, settle: Callable[..., None]) -> int:
    shop.opt_in("restock", 5)
    made: int = shop.planned("spring")
    settle(made, 0, "sent")
    settle(made, 1, "refused", code=551, subcode=1545041)
    settle(made, 2, "refused", code=10, subcode=1893015)
    settle(made, 3, "unknown", reason="timeout")
    return made


def numbers(page: str) -> list[int]:
    return [int(one) for one in re.findall(r'recipients/(\d+)">', page)]


def first(write: Write, campaign: int) -> int:
    found: int = write("SELECT min(subscriber_id) FROM otn.recipient WHERE campaign_id = %s", campaign)
    return found


def test_each_recipient_has_a_row_with_words_for_its_state(visit: Visit, campaign: int, write: Write) -> None:
    page = visit("admin").get(f"/campaigns/{campaign}/recipients").text
    start = first(write, campaign)
    assert numbers(page) == [start + place for place in range(5)]
    assert "unconfirmed" in page
    assert "no answer came in time" in page
    assert 'This person is not available right now. <small class="num">551/1545041</small>' in page
    assert ">unknown<" not in page
    assert '<th scope="col">Seen</th>' in page


def test_rows_are_narrowed_to_a_state_and_a_code(visit: Visit, campaign: int, write: Write) -> None:
    client, start = visit("viewer"), first(write, campaign)
    for query, places in (
        ("state=refused", [1, 2]),
        ("state=unknown", [3]),
        ("code=551", [1]),
        ("code=551/1545041", [1]),
        ("code=+551+/+1545041+", [1]),
        ("code=551/2", []),
        ("state=sent&code=551", []),
        ("state=&code=", [0, 1, 2, 3, 4]),
    ):
        page = client.get(f"/campaigns/{campaign}/recipients?{query}").text
        assert numbers(page) == [start + place for place in places], query


def test_a_filter_that_cannot_be_used_is_named_and_kept(visit: Visit, campaign: int) -> None:
    client = visit("viewer")
    for query, name, typed in (
        ("state=gone", "state", None),
        ("code=abc", "code", "abc"),
        ("code=99999999999", "code", "99999999999"),
        ("code=2147483648", "code", "2147483648"),
        ("code=551/", "code", "551/"),
        ("code=%22%3E%3Cscript%3E", "code", "&#34;&gt;&lt;script&gt;"),
    ):
        answer = client.get(f"/campaigns/{campaign}/recipients?{query}")
        assert answer.status_code == 422, query
        assert f'aria-describedby="wrong-{name}"' in answer.text
        assert f'id="wrong-{name}"' in answer.text
        assert 'role="alert"' in answer.text
        assert typed is None or f'value="{typed}"' in answer.text
        assert "<script>" not in answer.text


def test_a_key_that_is_none_is_refused(visit: Visit) -> None:
    for query in ("after=-1", "after=x", "before=0", "after=9223372036854775808"):
        assert visit("viewer").get(f"/campaigns/1/recipients?{query}").status_code == 400, query


@pytest.mark.parametrize("query", ["", "state=waiting"])
def test_a_walk_to_the_end_and_back_meets_everybody_once(visit: Visit, shop: Any, query: str) -> None:
    people = 2 * ROWS + 7
    shop.opt_in("restock", people)
    path = f"/campaigns/{shop.planned('spring')}/recipients"
    client = visit("viewer")

    def walk(address: str, rel: str) -> list[list[int]]:
        met = []
        while True:
            page = client.get(address).text
            met.append(numbers(page))
            step = re.search(rf'rel="{rel}" href="([^"]+)"', page)
            if step is None:
                return met
            address = step[1].replace("&amp;", "&")

    there = walk(f"{path}?{query}", "next")
    assert [len(some) for some in there] == [ROWS, ROWS, 7]
    everybody = list(chain(*there))
    assert everybody == sorted(set(everybody))
    back = walk(f"{path}?{query}&before={everybody[-1] + 1}", "prev")
    assert list(chain(*reversed(back))) == everybody
    assert 'rel="prev"' not in client.get(f"{path}?{query}").text
    beyond = client.get(f"{path}?{query}&after={everybody[-1]}").text
    assert numbers(beyond) == []
    assert 'href="' + path in beyond


def test_who_may_not_see_people_sees_numbers_only(visit: Visit, campaign: int, write: Write) -> None:
    person = first(write, campaign)
    for path in (f"/campaigns/{campaign}/recipients", f"/campaigns/{campaign}/recipients/{person}"):
        seen, hidden = visit("admin").get(path).text, visit("viewer").get(path).text
        assert "First1" in seen
        assert "7000000000000001" in seen
        for secret in ("First1", "Last1", "70000000", "/people/", "psid=yes"):
            assert secret not in hidden
        assert str(person) in hidden


def test_every_call_is_told_with_what_came_back(visit: Visit, campaign: int, write: Write) -> None:
    person = first(write, campaign) + 3
    ids = [f"00000000-0000-0000-0000-00000000000{place}" for place in (3, 2, 1)]
    for age, attempt in zip(("3 hours", "2 hours", "1 hour"), ids, strict=True):
        write(INTENT, campaign, person, attempt, age)
    write(ANSWER, campaign, person, ids[0], "returned", 400, 613, None, "throttled")
    write(ANSWER, campaign, person, ids[1], "refused", 400, 551, 1545041, None)
    page = visit("viewer").get(f"/campaigns/{campaign}/recipients/{person}").text
    told = [
        "Call 1",
        "Nothing was sent: the platform wanted us to wait.",
        "Code 613",
        "Call 2",
        "This person is not available right now.",
        "Code 551/1545041",
        "Call 3",
        "No answer was ever written",
    ]
    assert [page.index(one) for one in told] == sorted(page.index(one) for one in told)
    assert "task-7" in page


def test_evidence_is_said(visit: Visit, campaign: int, write: Write) -> None:
    path = f"/campaigns/{campaign}/recipients/{first(write, campaign)}"
    assert "the platform accepted it" in visit("viewer").get(path).text
    write("UPDATE otn.recipient SET evidence = 'token_used_inferred' WHERE state = 'sent'")
    assert "inferred" in visit("viewer").get(path).text
    write(
        "UPDATE otn.recipient SET read_at = '2026-11-02 10:00Z', delivered_at = '2026-11-02 10:00Z'"
        " WHERE state = 'sent'"
    )
    assert '<dt>Seen</dt><dd><time datetime="2026-11-02T10:00:00+00:00"' in visit("viewer").get(path).text


def test_who_was_left_out_stands_with_the_reason(visit: Visit, shop: Any, write: Write) -> None:
    shop.opt_in("restock", 3)
    silent = write("SELECT min(id) + 1 FROM otn.subscriber")
    write("INSERT INTO otn.suppression (subscriber_id, reason) VALUES (%s, 'operator')", silent)
    path = f"/campaigns/{shop.planned('spring', max_recipients=1)}"
    page = visit("viewer").get(f"{path}/left-out").text
    assert re.findall(r'<th scope="row">(\d+)', page) == [str(silent), str(silent + 1)]
    assert "asked not to be written to" in page
    narrowed = visit("admin").get(f"{path}/left-out?reason=suppressed").text
    assert re.findall(r"/people/(\d+)", narrowed) == [str(silent)]
    assert visit("viewer").get(f"{path}/left-out?reason=bored").status_code == 422
    assert "Left out when the campaign was planned" in visit("viewer").get(f"{path}/recipients/{silent}").text


def test_an_erased_person_is_a_number_with_figures(visit: Visit, campaign: int, write: Write) -> None:
    person = first(write, campaign)
    write("INSERT INTO otn.suppression (subscriber_id, reason) VALUES (%s, 'erased')", person)
    write(
        "UPDATE otn.subscriber SET psid = NULL, first_name = NULL, last_name = NULL, locale = NULL, erased_at = now()"
        " WHERE id = %s",
        person,
    )
    assert "erased" in visit("admin").get(f"/campaigns/{campaign}/recipients").text
    page = visit("admin").get(f"/campaigns/{campaign}/recipients/{person}").text
    assert "This person was erased" in page
    assert "7000000000000001" not in page


def test_a_campaign_that_is_not_there_is_told(visit: Visit) -> None:
    for path in ("recipients", "recipients.csv", "left-out", "recipients/1"):
        answer = visit("viewer").get(f"/campaigns/999/{path}")
        assert answer.status_code == 404
        assert "There is no campaign number 999" in answer.text


def test_a_person_whom_the_campaign_never_met_is_told(visit: Visit, campaign: int) -> None:
    answer = visit("viewer").get(f"/campaigns/{campaign}/recipients/999999")
    assert answer.status_code == 404
    assert "did not meet person 999999" in answer.text


def test_a_campaign_that_is_not_planned_yet_says_so(visit: Visit, shop: Any) -> None:
    campaign = shop.campaign("spring")
    assert "planned when it begins to send" in visit("viewer").get(f"/campaigns/{campaign}/recipients").text
    assert "Not planned yet" in visit("viewer").get(f"/campaigns/{campaign}/left-out").text


def test_hostile_names_stay_text_and_turn_nothing_around(visit: Visit, shop: Any, write: Write) -> None:
    shop.opt_in("restock", 1)
    write("UPDATE otn.subscriber SET first_name = %s, last_name = NULL", "<img src=x onerror=alert(1)>\u202egpj")
    campaign = shop.planned("<b>spring")
    person = first(write, campaign)
    for path in ("recipients", f"recipients/{person}"):
        page = visit("admin").get(f"/campaigns/{campaign}/{path}").text
        assert "<img" not in page
        assert "<b>spring" not in page
        assert re.findall("<bdi>[^<]*\u202e[^<]*</bdi>", page)
        assert page.count("\u202e") == len(re.findall("<bdi>[^<]*\u202e[^<]*</bdi>", page))


def test_the_csv_has_a_row_for_each_and_no_psid(visit: Visit, campaign: int, write: Write) -> None:
    answer = visit("viewer").get(f"/campaigns/{campaign}/recipients.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert tuple(rows[0]) == export_columns(with_psid=False)
    assert [row["state"] for row in rows] == ["sent", "refused", "refused", "unknown", "waiting"]
    assert "70000000" not in answer.text
    assert write("SELECT count(*) FROM otn.audit WHERE action = 'exported_with_psids'") == 0


def test_psids_are_exported_for_whoever_may_see_people_and_audited(visit: Visit, campaign: int, write: Write) -> None:
    path = f"/campaigns/{campaign}/recipients.csv?psid=yes"
    refused = visit("viewer").get(path)
    assert refused.status_code == 403
    assert "You may not see PSIDs" in refused.text
    assert write("SELECT count(*) FROM otn.audit WHERE action = 'exported_with_psids'") == 0
    rows = list(csv.DictReader(StringIO(visit("admin", name="eve").get(path).text)))
    assert tuple(rows[0]) == export_columns(with_psid=True)
    assert rows[0]["psid"] == "7000000000000001"
    assert write("SELECT actor || campaign_id FROM otn.audit WHERE action = 'exported_with_psids'") == f"eve{campaign}"


def test_no_cell_of_the_csv_is_a_formula(visit: Visit, campaign: int, write: Write) -> None:
    write("UPDATE otn.recipient SET reason = '=HYPERLINK(\"http://evil\")' WHERE state = 'unknown'")
    rows = list(csv.DictReader(StringIO(visit("viewer").get(f"/campaigns/{campaign}/recipients.csv").text)))
    assert rows[3]["reason"] == '\'=HYPERLINK("http://evil")'


def test_the_csv_is_written_while_it_is_read(
    visit: Visit, shop: Any, monkeypatch: pytest.MonkeyPatch, database: Engine
) -> None:
    made = 0

    def rows(*_: Any) -> Any:
        nonlocal made
        for made in range(1, 10 * LINES):
            yield {"subscriber_id": made}

    monkeypatch.setattr(recipients.report, "export_rows", rows)
    parts = recipients.as_csv(
        Visitor("ann", may_act=False, may_see_people=False), database, shop.campaign("spring")
    ).body_iterator
    assert made == 0

    async def first_part() -> Any:
        return await anext(aiter(parts))

    head = asyncio.run(first_part())
    assert head.count("\n") == LINES
    assert made == LINES - 1


def test_every_column_of_the_csv_is_documented(visit: Visit, campaign: int) -> None:
    assert tuple(COLUMNS) == export_columns(with_psid=True)
    page = visit("viewer").get(f"/campaigns/{campaign}/recipients").text
    assert all(f"<code>{name}</code>" in page for name in export_columns(with_psid=False))
