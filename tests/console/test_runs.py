"""The tab on a run of Airflow: it leads to the campaign, or says why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otn.console.runs import run_state
from otn.watch.abandoned import Run, note_run
from tests.console.shop import Shop

RUN = "manual__2026-11-22T10:00:00+00:00"


@pytest.fixture
def ask(visit: Callable[..., TestClient]) -> Callable[..., Any]:
    """Opens the tab while Airflow says how the run stands."""

    def open_tab(dag_id: str, run_id: str = RUN, state: str | None = "running") -> Any:
        client = visit("viewer")
        client.app.dependency_overrides[run_state] = lambda: lambda *_: state  # type: ignore[attr-defined]
        return client.get("/runs", params={"dag_id": dag_id, "run_id": run_id})

    return open_tab


def test_a_run_leads_to_its_campaign(ask: Callable[..., Any], shop: Shop) -> None:
    for dag_id in ("otn_broadcast", "otn_retry", "otn_campaign_newsletter"):
        campaign = shop.campaign(dag_id)
        note_run(shop.engine, campaign, Run(dag_id, RUN))
        answer = ask(dag_id)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/campaigns/{campaign}")


def test_the_same_name_of_a_run_of_another_dag_is_another_run(ask: Callable[..., Any], shop: Shop) -> None:
    note_run(shop.engine, shop.campaign("spring"), Run("otn_retry", RUN))
    assert ask("otn_broadcast").status_code == 200


def test_a_campaign_that_is_being_opened_is_waited_for(ask: Callable[..., Any]) -> None:
    for state in ("queued", "running"):
        answer = ask("otn_broadcast", state=state)
        assert "The campaign is being opened" in answer.text
        assert answer.headers["refresh"] == "3"
        assert "run_id=manual__2026-11-22T10%3A00%3A00%2B00%3A00" in answer.text


WITHOUT = (
    ("otn_broadcast", RUN, "success", "opened no campaign: it was a dry run"),
    ("otn_retry", RUN, "failed", "opened no campaign"),
    ("otn_broadcast", RUN, None, "Airflow knows no run"),
    ("otn_ask", RUN, "running", "sends no campaign"),
    ("their_dag", RUN, "running", "sends no campaign"),
    ("<script>alert(1)</script>", "<script>", None, "sends no campaign"),
    ("otn_broadcast", "", None, "names no run"),
    ("", "", None, "names no run"),
    ("otn_broadcast", "\0", None, "names no run"),
)


def test_a_run_without_a_campaign_says_why_and_is_not_waited_for(ask: Callable[..., Any]) -> None:
    for dag_id, run_id, state, sentence in WITHOUT:
        answer = ask(dag_id, run_id, state)
        assert answer.status_code == 200
        assert sentence in answer.text
        assert "refresh" not in answer.headers
        assert "<script>alert" not in answer.text
        assert "<code><script>" not in answer.text
