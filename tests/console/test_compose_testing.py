"""Testing in Compose: people are chosen, one run starts however often the form comes, its result is said as it is."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otn.asking import testing
from otn.consent import pages, topics
from otn.console.airflow_run import Run
from otn.console.compose_testing import TEST
from otn.console.runs import run_state
from otn.console.triggering import NotTriggeredError, trigger
from otn.database import transaction
from otn.orchestration.testing_params import MessageTestRequest
from tests.console.test_compose import FORM, TEXT, problem

KEY = "0123456789abcdef" * 2
PEOPLE = {"person_1": "on", "person_3": "on"}


class Airflow:
    """In place of Airflow: a name that a run bears already is that run."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.state: str | None = "running"
        self.says = ""

    def __call__(self, dag_id: str, conf: Mapping[str, Any], note: str, *, run_id: str | None = None) -> Run:
        assert (dag_id, bool(note)) == (TEST, True)
        assert run_id is not None
        if self.says:
            raise NotTriggeredError(self.says)
        self.runs.setdefault(run_id, dict(conf))
        return Run(dag_id, run_id)


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


@pytest.fixture
def come(visit: Callable[..., TestClient], shop: Any, airflow: Airflow, write: Any) -> Callable[..., TestClient]:
    """A browser of somebody with a role; three people, of whom the second has not written."""
    shop.opt_in("restock", 3)
    write("UPDATE otn.subscriber SET last_interaction_at = clock_timestamp(), labels = '{staff}' WHERE id IN (1, 3)")

    def open_browser(role: str = "user") -> TestClient:
        browser = visit(role, "ann")
        browser.app.dependency_overrides[trigger] = lambda: airflow  # type: ignore[attr-defined]
        browser.app.dependency_overrides[run_state] = lambda: lambda _dag, _run: airflow.state  # type: ignore[attr-defined]
        return browser

    return open_browser


def submit(browser: TestClient, **changed: str) -> Any:
    return browser.post("/compose", data={**FORM, "campaign": "", "do": "test", "test_key": KEY, **changed})


def carry_out(shop: Any, airflow: Airflow) -> int:
    """What the first task of the run does."""
    (run_id, conf), *_ = airflow.runs.items()
    request = MessageTestRequest.from_params(conf)
    with transaction(shop.engine) as connection:
        page = pages.find(connection, request.page)
        topic = topics.find(connection, page, request.topic)
    return testing.open_test(shop.engine, run_id, request.message, request.people, page, topic, actor="ann")


def key_of(page: str) -> str:
    found = re.search(r'name="test_key" value="([0-9a-f]{32})"', page)
    assert found
    return found[1]


def rows(page: str) -> dict[str, str]:
    table = page[page.index("<caption>The test</caption>") :]
    found = re.findall(r'<th scope="row">(\d+)</th><td>(.*?)</td>', table)
    return {person: " ".join(re.sub("<[^>]*>", " ", html.unescape(said)).split()) for person, said in found}


def test_a_test_is_one_run_however_often_the_form_comes(come: Callable[..., TestClient], airflow: Airflow) -> None:
    browser = come()
    first = submit(browser, **PEOPLE)
    assert first.status_code == 200
    assert submit(browser, **PEOPLE).status_code == 200
    ((run_id, conf),) = airflow.runs.items()
    assert re.fullmatch(r"manual__test_[0-9a-f]{32}", run_id)
    assert conf == {"page": "messenger_default", "topic": "restock", "text": TEXT, "people": [1, 3]}
    assert MessageTestRequest.from_params(conf).people == (1, 3)
    assert "The test is under way: its run is running" in first.text
    assert f'data-live="/compose/test/live?run_id={run_id}"' in first.text
    assert TEXT in html.unescape(first.text)
    submit(browser, **PEOPLE, text="Another text.")
    submit(browser, person_1="on")
    assert len(airflow.runs) == 3
    assert key_of(first.text) != KEY
    submit(browser, **PEOPLE, test_key=key_of(first.text))
    assert len(airflow.runs) == 4


def test_a_test_needs_no_key_and_no_audience_of_the_campaign(come: Callable[..., TestClient], airflow: Airflow) -> None:
    answer = submit(come(), **PEOPLE, canary="many", send_at="never", when="later")
    assert answer.status_code == 200
    assert len(airflow.runs) == 1
    assert "wrong-canary" in answer.text


@pytest.mark.parametrize(
    ("changed", "name", "said"),
    [
        ({}, "find", "Nobody is chosen"),
        ({f"person_{n}": "on" for n in range(1, 12)}, "find", "11 people are chosen"),
        (PEOPLE | {"text": ""}, "text", "There is no text yet"),
        (PEOPLE | {"text": "Hi {{ first_name"}, "text", "template"),
        (PEOPLE | {"topic": "nothing"}, "topic", "no topic of this key"),
        (PEOPLE | {"page": "nowhere"}, "page", "not registered"),
        (
            PEOPLE
            | {
                "kind": "message",
                "message": '{"attachment": {"type": "template", "payload": {"template_type": "one_time_notif_req"}}}',
            },
            "message",
            "otn_ask",
        ),
    ],
    ids=["nobody", "crowd", "no text", "broken text", "topic", "page", "card"],
)
def test_what_cannot_be_tested_is_said_at_its_field(
    come: Callable[..., TestClient], airflow: Airflow, changed: dict[str, str], name: str, said: str
) -> None:
    answer = submit(come(), **changed)
    assert answer.status_code == 422
    assert said in html.unescape(problem(answer.text, name))
    assert airflow.runs == {}
    assert "wrong-campaign" not in answer.text


def test_a_dag_that_is_paused_is_said(come: Callable[..., TestClient], airflow: Airflow) -> None:
    airflow.says = "The DAG otn_test_message is paused."
    answer = submit(come(), **PEOPLE)
    assert answer.status_code == 503
    assert "is paused" in problem(answer.text, "find")


def test_people_are_found_by_label_and_number_and_by_name_only_by_who_may_see_names(
    come: Callable[..., TestClient], write: Any
) -> None:
    page = submit(come(), do="find", find="staff", person_3="on").text
    assert re.findall(r'name="person_(\d+)" value="on"( checked)?', page) == [("3", " checked"), ("1", "")]
    assert "First1" not in page
    page = submit(come(), do="find", find="#2").text
    assert "has not written to the page within 24 hours" in page
    assert 'name="person_2"' not in page
    assert "Nobody found" in submit(come(), do="find", find="First1").text
    page = submit(come("op"), do="find", find="first1").text
    assert "Person 1, First1 Last1" in page
    assert write("SELECT detail FROM otn.audit WHERE action = 'people_searched'") == {"by": "test", "found": 1}
    assert "7000000000000001" not in page


def test_what_became_of_each_is_said_in_words(
    come: Callable[..., TestClient], airflow: Airflow, shop: Any, write: Any
) -> None:
    browser = come()
    tokens = "SELECT string_agg(t::text || t.xmin::text, ',' ORDER BY id) FROM otn.token t"
    before = write(tokens)
    submit(browser, **PEOPLE, person_2="on")
    (run_id,) = airflow.runs
    carry_out(shop, airflow)
    look = lambda: browser.get(f"/compose/test/live?run_id={run_id}").text  # noqa: E731
    page = look()
    assert rows(page) == {
        "1": "waiting",
        "2": "skipped has not written to the page within 24 hours; a word to the page opens the window",
        "3": "waiting",
    }
    assert "data-over" not in page
    write("UPDATE otn.page SET halted_at = now(), halt_reason = 'mend it'")
    assert rows(look())["1"] == "waiting the page may not send: mend it"
    write(
        "UPDATE otn.window_message SET state = 'sending', attempts = 1, attempt_id = gen_random_uuid(),"
        " called_at = now(), lease_until = now() WHERE state = 'waiting'"
    )
    write(
        "UPDATE otn.window_message SET state = 'refused', error_code = 551, lease_until = NULL WHERE subscriber_id = 1"
    )
    write(
        "UPDATE otn.window_message SET state = 'unknown', reason = 'lease_lost', lease_until = NULL"
        " WHERE subscriber_id = 3"
    )
    page = look()
    said = rows(page)
    assert said["1"].startswith("refused ")
    assert said["3"] == "unconfirmed the sender died or lost the database in mid-call; it is not sent again"
    assert "data-over" in page
    assert write(tokens) == before
    assert rows(submit(browser, do="look", tested=run_id).text) == said


@pytest.mark.parametrize(
    ("state", "said"),
    [("failed", "Nothing was sent: the run ended (failed)"), (None, "Airflow does not know this test any more")],
)
def test_a_run_that_wrote_nobody_down_is_said(
    come: Callable[..., TestClient], airflow: Airflow, state: str | None, said: str
) -> None:
    airflow.state = state
    page = submit(come(), **PEOPLE).text
    assert said in page
    assert "data-over" in page


@pytest.mark.parametrize("run_id", ["", "x", "manual__test_" + "g" * 32, "\0", "x" * 10_000, "../../dags"])
def test_a_result_of_nothing_is_nothing(come: Callable[..., TestClient], run_id: str) -> None:
    answer = come("viewer").get("/compose/test/live", params={"run_id": run_id})
    assert answer.status_code == 200
    assert "does not know this test" in answer.text
    assert run_id[:50] not in answer.text or not run_id
