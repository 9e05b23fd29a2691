"""Compose: what is typed becomes a run of ``otn_broadcast``, or comes back with its faults named."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import HTTPException
from fastapi.testclient import TestClient
from markupsafe import escape

from otn.campaign import control
from otn.console import compose_counts
from otn.console.access import Visitor
from otn.console.airflow_run import Run
from otn.console.compose_form import DEFAULTS, read_draft
from otn.console.compose_start import EXAMPLES
from otn.console.triggering import NotTriggeredError, trigger
from otn.console.zones import moment_of
from otn.orchestration.params import BroadcastRequest

Visit = Callable[..., TestClient]
TEXT = 'Hi {{ first_name | default("there") }}, it is back.'
FORM = {
    **DEFAULTS,
    "page": "messenger_default",
    "topic": "restock",
    "campaign": "spring",
    "text": TEXT,
    "do": "start",
}


@dataclass
class Airflow:
    """In place of Airflow: writes down what would be triggered."""

    runs: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    says: str | None = None

    def __call__(self, dag_id: str, conf: Mapping[str, Any], note: str) -> Run:
        if self.says:
            raise NotTriggeredError(self.says)
        self.runs.append((dag_id, json.loads(json.dumps(conf)), note))
        return Run(dag_id, f"manual__2026-11-22T10:00:00+00:00 {len(self.runs)}")

    @property
    def conf(self) -> dict[str, Any]:
        (_, conf, _) = self.runs[-1]
        return conf


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


@pytest.fixture
def write_campaign(visit: Visit, shop: Any, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Submits the form with some fields changed; None: the field is not submitted."""
    connection = {"conn_type": "messenger", "login": "1000000001", "password": "token"}
    monkeypatch.setenv("AIRFLOW_CONN_MESSENGER_DEFAULT", json.dumps(connection))
    client = visit("user", "ann")
    client.app.dependency_overrides[trigger] = lambda: airflow  # type: ignore[attr-defined]

    def submit(path: str = "/compose", role: str | None = None, **changed: str | None) -> Any:
        browser = client
        if role is not None:
            browser = visit(role)
            browser.app.dependency_overrides[trigger] = lambda: airflow  # type: ignore[attr-defined]
        return browser.post(path, data={name: value for name, value in (FORM | changed).items() if value is not None})

    return submit


def problem(page: str, name: str) -> str:
    found = re.search(rf'id="wrong-{name}">(.*?)</p>', page, re.DOTALL)
    assert found, f"nothing is said about {name}"
    return found[1]


def conf_of(airflow: Airflow, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 303, re.findall(r'class="wrong".*', answer.text)
    return airflow.conf


def test_what_is_typed_becomes_a_run_that_the_dag_takes(write_campaign: Callable[..., Any], airflow: Airflow) -> None:
    answer = write_campaign(
        include_labels="vip\r\n web ",
        exclude_labels="staff",
        attributes="city = Oslo\ncity=Bergen\nsize = L",
        locale="nb_NO\nnn_NO",
        ref="sku-1",
        opted_in_from="2026-01-01T00:00",
        interacted_until="2026-06-01T12:30",
        max_recipients="500",
        zone="Europe/Oslo",
        when="later",
        send_at="2027-03-01T09:00",
        if_late="cancel",
        late_after="2 h",
        canary="10",
        canary_labels="staff",
        max_refused="0.2",
        result_labels="sent = got-spring\nread = warm",
        approval=None,
    )
    conf = conf_of(airflow, answer)
    assert answer.headers["location"] == "/runs?dag_id=otn_broadcast&run_id=manual__2026-11-22T10%3A00%3A00%2B00%3A00+1"
    request = BroadcastRequest.from_params(conf)
    assert (request.page, request.topic, request.spec.key) == ("messenger_default", "restock", "spring")
    assert request.spec.message == {"text": TEXT}
    assert request.spec.include_labels == ("vip", "web")
    assert request.spec.filter == {
        "attributes": {"city": ["Bergen", "Oslo"], "size": ["L"]},
        "interacted_until": "2026-06-01T10:30:00+00:00",
        "locale": ["nb_NO", "nn_NO"],
        "opted_in_from": "2025-12-31T23:00:00+00:00",
        "ref": ["sku-1"],
    }
    assert request.spec.send_at is not None
    assert request.spec.send_at.isoformat() == "2027-03-01T08:00:00+00:00"
    assert (request.spec.max_recipients, request.spec.canary, request.spec.max_refused) == (500, 10, 0.2)
    assert request.spec.result_labels == {"read": ("warm",), "sent": ("got-spring",)}
    assert request.spec.approval is False


def test_approval_is_asked_for_unless_somebody_says_no(
    write_campaign: Callable[..., Any], airflow: Airflow, visit: Visit
) -> None:
    assert re.search(r'name="approval" value="on" checked', visit("user").get("/compose").text)
    assert conf_of(airflow, write_campaign())["approval"] is True


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("campaign", "", "There is no key"),
        ("campaign", "x" * 201, "1 to 200 printable characters"),
        ("page", "", "No page is chosen"),
        ("topic", "", "No topic is chosen"),
        ("text", " ", "no text yet"),
        ("text", "Hi {{ name.first }}", "not allowed"),
        ("text", "Hi {% for x in y %}{% endfor %}", "not allowed"),
        ("text", "Hi {{ name", "broken at line 1"),
        ("text", "x" * 2000, "2000 characters where 1999 are allowed"),
        ("text", "x" * 1_000_000, "1,000,000 characters"),
        ("include_labels", "a\x07b", "printable"),
        ("attributes", "Oslo", "no '='"),
        ("attributes", "first_name = Ann", "texts know that name already"),
        ("attributes", "a b = c", "letters, digits and underscores"),
        ("locale", "x" * 21, "1 to 20 printable characters"),
        ("opted_in_from", "yesterday", "no moment"),
        ("opted_in_until", "2026-02-30T10:00", "no moment"),
        ("interacted_from", "0001-01-01T00:00", "no moment"),
        ("max_recipients", "abc", "This is 'abc'. Give a whole number"),
        ("max_recipients", "0", "whole number from 1"),
        ("max_recipients", "9" * 5000, "whole number from 1"),
        ("canary", "-1", "whole number from 0"),
        ("if_late", "never", "Choose one of"),
        ("late_after", "soon", "Give a span"),
        ("max_refused", "nan", "Give a share"),
        ("max_refused", "2", "Give a share"),
        ("result_labels", "opened = x", "There is no result_labels.opened"),
        ("zone", "Mars/Base", "no time zone"),
        ("zone", "../../etc/passwd", "no time zone"),
    ],
    ids=lambda value: value[:20].encode("unicode_escape").decode() if isinstance(value, str) else value,
)
def test_what_is_wrong_is_told_of_its_field_alone(field: str, typed: str, said: str) -> None:
    draft = read_draft(FORM | {"zone": "Europe/Oslo", field: typed})
    assert list(draft.problems) == [field]
    assert said in draft.problems[field]
    assert draft.request is None


def test_what_is_wrong_is_named_at_its_field_and_nothing_is_lost(
    write_campaign: Callable[..., Any], airflow: Airflow
) -> None:
    wrong = {
        "topic": "elsewhere",
        "text": "x" * 1_000_000,
        "include_labels": "a\x07b",
        "attributes": "Oslo <b>",
        "locale": "x" * 21,
        "max_recipients": "abc",
        "canary": "-1",
        "late_after": '"soon"',
        "max_refused": "nan",
        "result_labels": "opened = x",
    }
    answer = write_campaign(**wrong, canary_labels="staff of <b>Oslo</b>")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert airflow.runs == []
    for name, typed in wrong.items():
        assert problem(answer.text, name)
        tag = re.search(rf'<(?:input|select|textarea) id="{name}"[^>]*>', answer.text)
        assert tag
        assert 'aria-invalid="true"' in tag[0]
        assert f"wrong-{name}" in tag[0]
        assert f'<a href="#{name}">' in answer.text
        assert str(escape(typed)) in answer.text
    assert "staff of &lt;b&gt;Oslo&lt;/b&gt;</textarea>" in answer.text


def test_all_that_is_wrong_is_told_at_once(write_campaign: Callable[..., Any]) -> None:
    answer = write_campaign(text="", canary="x", late_after="y", when="later", send_at="")
    assert [name for name in DEFAULTS if f'id="wrong-{name}"' in answer.text] == [
        "text",
        "send_at",
        "late_after",
        "canary",
    ]


def test_fields_that_contradict_each_other(write_campaign: Callable[..., Any], airflow: Airflow) -> None:
    answer = write_campaign(
        include_labels="a",
        exclude_labels="a",
        opted_in_from="2026-02-01T00:00",
        opted_in_until="2026-01-01T00:00",
        when="sometime",
        kind="song",
    )
    assert "both included and excluded" in problem(answer.text, "exclude_labels")
    assert "nobody would be left" in problem(answer.text, "opted_in_until")
    assert "Choose now or later" in problem(answer.text, "send_at")
    assert "Choose text or message" in problem(answer.text, "message")
    assert airflow.runs == []


def test_a_field_that_the_form_does_not_have_is_refused(write_campaign: Callable[..., Any], airflow: Airflow) -> None:
    answer = write_campaign(dry_rnu="on")
    assert answer.status_code == 422
    assert "There is no param &#39;dry_rnu&#39;" in answer.text
    assert airflow.runs == []


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", "no message yet"),
        ('{"text": }', "line 1, column 10"),
        ("[" * 100_000, "100,000 characters"),
        ("[" * 20_000, "nested too deeply"),
        ('{"text": NaN}', "do not agree"),
        ('{"txt": "x"}', "message.txt is not known"),
        ("[1]", "Give a Send API message object"),
        ('{"attachment": {"type": "image", "payload": {"url": "javascript:alert(1)"}}}', "no web address"),
        ('{"attachment": {"type": "template", "payload": {"template_type": "one_time_notif_req"}}}', "otn_ask"),
        ('{"text": "\\ud800"}', "surrogate"),
    ],
    ids=["empty", "broken", "long", "deep", "nan", "key", "list", "script", "card", "surrogate"],
)
def test_a_message_that_messenger_would_not_take(message: str, said: str) -> None:
    draft = read_draft(FORM | {"kind": "message", "message": message})
    assert said in draft.problems["message"]
    assert draft.request is None


def test_an_example_goes_into_the_box_and_can_be_sent(write_campaign: Callable[..., Any], airflow: Airflow) -> None:
    message = ""
    for name, (_, expected) in EXAMPLES.items():
        page = write_campaign(do="example", example=name, kind="message", message=message).text
        box = re.search(r'<textarea id="message"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
        assert box
        message = html.unescape(box[1])
        conf = conf_of(airflow, write_campaign(kind="message", message=message))
        assert conf["message"] == expected
        assert "text" not in conf


def test_an_example_replaces_nothing_that_somebody_wrote(write_campaign: Callable[..., Any]) -> None:
    assert (
        "mine &amp; dear" in write_campaign(do="example", example="image", kind="message", message="mine & dear").text
    )
    other = write_campaign(do="example", example="none", kind="message")
    assert "no such example" in problem(other.text, "example")


@pytest.mark.parametrize(
    ("typed", "which", "moment"),
    [
        ("2027-10-31T02:30", "first", "2027-10-31T00:30:00+00:00"),
        ("2027-10-31T02:30", "second", "2027-10-31T01:30:00+00:00"),
        ("2027-10-31T03:30", "", "2027-10-31T02:30:00+00:00"),
    ],
)
def test_a_clock_time_that_comes_twice_is_chosen(typed: str, which: str, moment: str) -> None:
    assert moment_of(typed, "Europe/Berlin", which).isoformat() == moment


def test_a_clock_time_that_never_comes_or_comes_twice_is_told(write_campaign: Callable[..., Any]) -> None:
    later = {"when": "later", "zone": "Europe/Berlin"}
    gap = write_campaign(send_at="2027-03-28T02:30", **later)
    assert "does not exist in Europe/Berlin" in problem(gap.text, "send_at")
    double = write_campaign(send_at="2027-10-31T02:30", **later)
    assert "comes twice" in problem(double.text, "send_at")
    assert '<select id="which"' in double.text
    assert '<select id="which"' not in gap.text
    past = write_campaign(send_at="2020-01-01T10:00", **later)
    assert "had passed" in problem(past.text, "send_at")


def test_a_bound_that_comes_twice_leaves_nobody_out(write_campaign: Callable[..., Any], airflow: Airflow) -> None:
    twice = "2025-10-26T02:30"
    answer = write_campaign(zone="Europe/Berlin", opted_in_from=twice, opted_in_until=twice)
    assert conf_of(airflow, answer)["filter"] == {
        "opted_in_from": "2025-10-26T00:30:00+00:00",
        "opted_in_until": "2025-10-26T01:30:00+00:00",
    }


def test_everybody_is_counted_and_everyone_left_out_has_a_reason(
    write_campaign: Callable[..., Any], shop: Any, write: Callable[..., Any]
) -> None:
    shop.opt_in("restock", 8)
    shop.opt_in("restock", 4, ends_in="10 days")
    shop.opt_in("sale", 5)
    write("UPDATE otn.subscriber SET labels = '{vip}' WHERE psid IN ('7000000000000001', '7000000000000002')")
    write(
        "INSERT INTO otn.suppression (subscriber_id, reason, actor)"
        " SELECT id, 'operator', 'ann' FROM otn.subscriber WHERE psid = '7000000000000003'"
    )
    for path in ("/compose", "/compose/count"):
        page = write_campaign(path, do="look", exclude_labels="vip", max_recipients="7").text
        assert '<p class="big">7 people</p>' in page
        assert re.search(r"carry an excluded label</th><td class=\"num\">2<", page)
        assert re.search(r"asked not to be written to</th><td class=\"num\">1<", page)
        assert re.search(r"came after the most people that were wanted</th><td class=\"num\">2<", page)
        assert "<dd>4 of those spent, within 30 days; 4 of the stock</dd>" in page
        assert "<dt>Left in stock</dt><dd>5</dd>" in page
        assert "less than a minute at the page&#39;s pace" in page or "less than a minute at the page's pace" in page
    assert "<h1>" not in page
    assert "12 unspent" in write_campaign(do="look").text


def test_a_form_that_cannot_be_counted_yet_says_why(write_campaign: Callable[..., Any]) -> None:
    page = write_campaign("/compose/count", do="look", topic="", text="").text
    assert "Choose a page and a topic" in page
    assert (
        "Not counted yet. This is &#39;x&#39;" in write_campaign("/compose/count", do="look", max_recipients="x").text
    )
    empty = write_campaign(do="look", text="", campaign="").text
    assert 'role="alert"' not in empty


def test_the_consented_title_stands_beside_the_text(write_campaign: Callable[..., Any]) -> None:
    page = write_campaign("/compose/count", do="look").text
    assert "“Back in stock”" in page
    assert "Hi Alex, it is back." in page
    buttons = '{"text": "x", "quick_replies": [{"content_type": "text", "title": "Y", "payload": "why"}]}'
    assert (
        "No rule answers a tap on <code>why</code>" in write_campaign(do="look", kind="message", message=buttons).text
    )


def test_nothing_typed_is_ever_markup(write_campaign: Callable[..., Any], write: Callable[..., Any]) -> None:
    evil = "<script>alert(1)</script>"
    write("UPDATE otn.topic SET title = %s, labels = ARRAY[%s]", evil, evil)
    message = {"attachment": {"type": "template", "payload": {"template_type": "generic", "elements": [
        {"title": evil, "subtitle": evil, "buttons": [{"type": "postback", "title": "<b>x</b>", "payload": evil}]}
    ]}}}  # fmt: skip
    fields = ("campaign", "include_labels", "ref", "late_after", "zone", "topic", "page", "preview_as", "which")
    for changed in (
        dict.fromkeys(fields, evil),
        {"kind": "message", "message": json.dumps(message)},
        {"text": evil},
    ):
        for do in ("look", "start"):
            page = write_campaign(do=do, **{"campaign": evil, **changed}).text
            assert "<script>alert" not in page
            assert "<b>x" not in page


def test_only_who_may_see_people_reads_it_as_one_of_them(
    write_campaign: Callable[..., Any], shop: Any, write: Callable[..., Any]
) -> None:
    shop.opt_in("restock", 3)
    first = write("SELECT min(id) FROM otn.subscriber")
    page = write_campaign("/compose/count", role="admin", do="people").text
    assert f'<option value="{first}">person {first}</option>' in page
    page = write_campaign("/compose/count", role="admin", do="look", preview_as=str(first)).text
    assert "Hi First1, it is back." in page
    page = write_campaign("/compose/count", role="user", do="people", preview_as=str(first)).text
    assert "Hi Alex, it is back." in page
    assert "person" not in page.replace("invented person", "")
    for nobody in ("0", "abc", "9" * 30, "-1"):
        page = write_campaign("/compose/count", role="admin", do="look", preview_as=nobody).text
        assert "knows no person of the number" in page
    write("UPDATE otn.subscriber SET first_name = NULL")
    page = write_campaign("/compose/count", role="admin", preview_as=str(first), text="Hi {{ first_name }}").text
    assert "a personal field is not known of them" in page


def test_a_key_is_proposed_and_one_that_somebody_wrote_stays(
    write_campaign: Callable[..., Any], visit: Visit, shop: Any
) -> None:
    def keys(page: str) -> list[str]:
        return re.findall(
            r'id="(?:campaign|proposed)" name="\w+"[^>]* value="([^"]*)"', page.replace('type="text" ', "")
        )

    first = re.search(
        r'id="campaign"[^>]*value="(restock-\d{4}-\d\d-\d\d)"', visit("user").get("/compose?topic=restock").text
    )
    assert first
    shop.campaign(first[1])
    assert f'value="{first[1]}-2"' in visit("user").get("/compose?topic=restock").text
    page = write_campaign(do="look", campaign=first[1], proposed=first[1], topic="sale").text
    assert f'value="{first[1].replace("restock", "sale")}"' in page
    page = write_campaign(do="look", campaign=first[1], proposed=first[1]).text
    assert f'value="{first[1]}-2"' not in page  # or a form that was started would start once more, under another key
    assert 'value="mine"' in write_campaign(do="look", campaign="mine", proposed=first[1], topic="sale").text


def test_a_key_that_is_taken_resumes_or_is_refused(
    write_campaign: Callable[..., Any], airflow: Airflow, shop: Any
) -> None:
    same = shop.campaign("spring", message={"text": TEXT})
    answer = write_campaign()
    assert answer.status_code == 422
    assert "resumes it where it stands" in problem(answer.text, "campaign")
    assert 'name="resume"' in answer.text
    assert airflow.runs == []
    assert conf_of(airflow, write_campaign(resume="on"))["campaign"] == "spring"
    other = write_campaign(text="Other", resume="on")
    assert "would be refused" in problem(other.text, "campaign")
    assert re.search(r"restock-\d{4}", problem(other.text, "campaign"))
    control.cancel(shop.engine, same, actor="ann")
    cancelled = write_campaign(resume="on")
    assert "was cancelled, and is never sent" in problem(cancelled.text, "campaign")
    assert len(airflow.runs) == 1


def test_two_clicks_are_one_campaign(write_campaign: Callable[..., Any], airflow: Airflow, shop: Any) -> None:
    assert [write_campaign().status_code, write_campaign().status_code] == [303, 303]  # before the first run began
    (_, one, _), (_, two, _) = airflow.runs
    assert one == two
    spec = BroadcastRequest.from_params(one).spec
    assert shop.campaign(spec.key, message=spec.message) == shop.campaign(spec.key, message=spec.message)


def test_a_topic_of_another_page_is_refused(
    write_campaign: Callable[..., Any], airflow: Airflow, write: Callable[..., Any]
) -> None:
    page = write("INSERT INTO otn.page (page_id, connection_id) VALUES ('1000000002', 'other') RETURNING id")
    write("INSERT INTO otn.topic (page_id, key, title, payload, registered_at) VALUES (%s, 'b', 'B', 'b', now())", page)
    assert "no topic of this key" in problem(write_campaign(topic="b").text, "topic")
    assert airflow.runs == []
    listed = write_campaign(do="look", page="other").text
    assert '<option value="b">' in listed
    assert '<option value="sale">' not in listed
    assert "Show its topics" in listed


def test_an_old_campaign_comes_back_as_a_form(
    write_campaign: Callable[..., Any], airflow: Airflow, visit: Visit, shop: Any
) -> None:
    spec: dict[str, Any] = {
        "message": {"text": TEXT, "quick_replies": [{"content_type": "user_email"}]},
        "include_labels": ("a", "b"),
        "max_recipients": 7,
        "filter": {
            "attributes": {"city": ["Bergen", "Oslo"]},
            "opted_in_from": "2026-01-01T00:00:01+00:00",
            "ref": ["sku=1"],
        },
        "canary": 5,
        "result_labels": {"sent": ["got"]},
        "max_refused": 0.25,
    }
    old = shop.campaign("old", "sale", **spec)
    page = visit("user").get(f"/compose?from={old}").text
    typed = {name: html.unescape(value) for name, value in re.findall(r'<input id="(\w+)"[^>]* value="([^"]*)"', page)}
    typed |= {
        name: html.unescape(value)
        for name, value in re.findall(r'<textarea id="(\w+)"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    }
    assert typed["campaign"].startswith("sale-")
    conf = conf_of(airflow, write_campaign(kind="message", topic="sale", **typed))
    again = BroadcastRequest.from_params(conf).spec
    for name, value in spec.items():
        given = getattr(again, name)
        assert given == ({"sent": ("got",)} if name == "result_labels" else value), name
    assert visit("user").get("/compose?from=12345").status_code == 400
    assert visit("user").get("/compose?from=abc").status_code == 400
    assert visit("user").get(f"/compose?from={10**30}").status_code == 400


def test_the_dying_are_proposed(visit: Visit, shop: Any) -> None:
    shop.opt_in("restock", 3, ends_in="10 days")
    shop.opt_in("restock", 4)
    page = visit("user").get(f"/compose?dying={shop.topics['restock']}").text
    assert re.search(r'id="max_recipients"[^>]* value="3"', page)
    assert "3 people hold a consent" in page
    assert "No consent to this topic ends" in visit("user").get(f"/compose?dying={shop.topics['sale']}").text
    assert visit("user").get("/compose?dying=99999").status_code == 400


def test_airflow_that_starts_nothing_is_told_and_the_form_stays(
    write_campaign: Callable[..., Any], airflow: Airflow
) -> None:
    airflow.says = "The DAG otn_broadcast is paused."
    answer = write_campaign()
    assert answer.status_code == 503
    assert "The DAG otn_broadcast is paused." in answer.text
    assert 'value="spring"' in answer.text


def test_who_may_only_look_does_not_compose(visit: Visit) -> None:
    assert visit("viewer").get("/compose").status_code == 403


def test_an_installation_without_pages_says_what_to_do(visit: Visit) -> None:
    assert "No page is registered yet" in visit("user").get("/compose").text


def test_a_body_that_is_no_form_of_ours(visit: Visit, shop: Any) -> None:
    browser = visit("user")
    for body, status in (
        (b"\xff\xfe", 400),
        (b"a=1&" * 500, 400),
        (b"text=" + b"x" * 9_000_000, 413),
        (b"", 200),
    ):
        assert browser.post("/compose", content=body).status_code == status


def test_airflow_shows_no_person(write_campaign: Callable[..., Any], airflow: Airflow, shop: Any) -> None:
    shop.opt_in("restock", 1)
    write_campaign(role="admin", preview_as="1")
    assert "preview_as" not in airflow.conf


def test_who_may_not_trigger_a_dag_starts_nothing(visit: Visit) -> None:
    visit("viewer")  # Airflow's login is there
    nobody = Visitor(name="eve", may_act=False, may_see_people=False)
    start = trigger(nobody, SimpleAuthManagerUser(username="eve", role="viewer"))
    with pytest.raises(HTTPException, match="You may not start the DAG otn_retry"):
        start("otn_retry", {}, "")


def test_a_count_that_takes_long_keeps_nobody_waiting_and_is_shown_when_it_is_there(
    write_campaign: Callable[..., Any], shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.opt_in("restock", 3)
    gate, counted = Event(), Event()
    real = compose_counts.audience.count

    def slow(*args: Any, **asked: Any) -> Any:
        gate.wait(30)
        found = real(*args, **asked)
        counted.set()
        return found

    monkeypatch.setattr(compose_counts.audience, "count", slow)
    page = write_campaign("/compose/count", do="look").text
    assert "Counting everybody who opted in" in page
    assert "data-counting" in page
    assert "Hi Alex, it is back." in page, "the preview waits for no count"
    gate.set()
    assert counted.wait(30)
    page = write_campaign(do="look").text
    assert '<p class="big">3 people</p>' in page
    assert "data-counting" not in page
