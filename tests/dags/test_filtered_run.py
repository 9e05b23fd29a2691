from __future__ import annotations

from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow, Question, answer


def test_a_filter_bounds_what_is_approved_and_sent_and_results_put_labels_on(airflow: Airflow, stage: Stage) -> None:
    oslo, bergen, _ = stage.opt_in(3)
    for psid, city in ((oslo, "Oslo"), (bergen, "Bergen")):
        stage.sql(
            "UPDATE otn.subscriber SET attributes = jsonb_build_object('city', %s::text) WHERE psid = %s", *(city, psid)
        )
    params = {
        "campaign": "spring",
        "topic": "restock",
        "text": 'Back in {{ city | default("your town") }}',
        "filter": {"attributes": {"city": ["Oslo"]}},
        "result_labels": {"sent": ["got-spring"]},
    }
    dry = airflow.run("otn_broadcast", **params, dry_run=True)
    assert dry.xcom("validate", "preview")["excluded"] == {"attribute_differs": 2}
    asked: list[Question] = []
    run = airflow.run("otn_broadcast", lambda: asked.append(answer("Approve")), **params)
    assert run.state == "success", run
    assert "Filter: `city` `Oslo`." in asked[0].body
    assert "Up to 11 people" in asked[0].body
    assert "Labels when it ends: sent: `got-spring`." in asked[0].body
    assert (run.xcom("report")["sent"], run.xcom("report")["excluded"]) == (1, {"attribute_differs": 2})
    assert dict(stage.sql("SELECT psid, labels FROM otn.subscriber WHERE labels <> '{}'")) == {oslo: ["got-spring"]}
    assert list(stage.seen()) == [oslo]
