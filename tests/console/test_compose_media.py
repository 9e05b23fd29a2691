"""Media in Compose: told by its content, handed over once a page, and nothing of the form is lost over it."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otn.campaign import media
from otn.console.compose_start import EXAMPLES, example
from otn.database import DatabaseError, transaction
from otn.messenger.client import MessengerClient
from otn.messenger.media import read_media
from sandbox.control_client import Sandbox
from tests.asking.conftest import sandbox
from tests.console.test_compose import FORM, problem

__all__ = ["sandbox"]

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
FILES = {
    "jpeg": (b"\xff\xd8\xff\xe0" + b"\0" * 9, "image", ".jpg"),
    "png": (PNG, "image", ".png"),
    "mp4": (b"\0\0\0\x18ftypisom" + b"\0" * 9, "video", ".mp4"),
    "m4a": (b"\0\0\0\x18ftypM4A " + b"\0" * 9, "audio", ".m4a"),
    "mp3": (b"ID3\x04" + b"\0" * 9, "audio", ".mp3"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt ", "audio", ".wav"),
    "pdf": (b"%PDF-1.7\n", "file", ".pdf"),
    "word": (b"PK\x03\x04" + b"\0" * 9 + b"word/document.xml" + b"\0" * 9, "file", ".docx"),
}
NOTHING = {
    "page": b"<html><script>alert(1)</script>",
    "drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "program": b"MZ\x90\0" + b"\0" * 60,
    "elf": b"\x7fELF" + b"\0" * 60,
    "archive": b"PK\x03\x04" + b"\0" * 60,
    "heic": b"\0\0\0\x18ftypheic" + b"\0" * 9,
    "text": b"hello",
    "one byte": b"\xff",
}


@pytest.fixture
def browser(visit: Callable[..., TestClient], shop: Any, write: Any, sandbox: Sandbox, monkeypatch: Any) -> TestClient:
    """Somebody who composes, for a page that the platform knows."""
    facts = sandbox.page("1000000001")
    connection = {"conn_type": "messenger", "host": sandbox.base_url, "login": "1000000001"}
    secret = {"password": facts["access_token"], "extra": {"app_secret": facts["app_secret"]}}
    monkeypatch.setenv("AIRFLOW_CONN_MESSENGER_DEFAULT", json.dumps(connection | secret))
    return visit("user", "ann")


def upload(browser: TestClient, content: bytes, name: str = "a.png", **changed: str) -> Any:
    return browser.post("/compose/media", data=FORM | {"do": "upload"} | changed, files={"file": (name, content)})


def value_of(page: str, name: str) -> str:
    found = re.search(rf'<textarea id="{name}"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_is_what_its_content_is(content: tuple[bytes, str, str]) -> None:
    found = read_media(content[0])
    assert found is not None
    assert (found.kind, found.suffix) == content[1:]


@pytest.mark.parametrize(
    ("name", "plain"),
    [("C:\\\\tmp\\\\a.png", "a.png"), ("/etc/pass\0wd\n", "passwd"), ("x" * 300, "x" * 100), ("..", "..")],
)
def test_a_name_is_the_last_part_of_a_path_that_can_be_seen(name: str, plain: str) -> None:
    assert media.plain_name(name) == plain


@pytest.mark.parametrize("content", NOTHING.values(), ids=NOTHING)
def test_what_messenger_does_not_show_is_no_media(content: bytes, browser: TestClient, write: Any) -> None:
    assert read_media(content) is None
    answer = upload(browser, content, "holiday.png")
    assert answer.status_code == 422
    assert "nothing that Messenger shows" in problem(answer.text, "file")
    assert write("SELECT count(*) FROM otn.attachment") == 0


def test_a_file_is_handed_over_once_and_stands_in_the_message(
    browser: TestClient, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = MessengerClient.upload_attachment
    monkeypatch.setattr(
        MessengerClient, "upload_attachment", lambda self, *a, **k: calls.append(a[0]) or real(self, *a, **k)
    )
    first = upload(browser, PNG, "../../etc/sunrise.png", include_labels="vip\nweb")
    assert first.status_code == 200
    assert "sunrise.png was handed over" in first.text
    message = json.loads(value_of(first.text, "message"))
    attachment_id = write("SELECT attachment_id FROM otn.attachment")
    assert message == {"attachment": {"type": "image", "payload": {"attachment_id": attachment_id}}}
    assert value_of(first.text, "include_labels") == "vip\nweb"
    again = upload(browser, PNG, "other name.jpg", message=json.dumps(message, indent=2), kind="message")
    assert "was not handed over again" in again.text
    assert (calls, write("SELECT count(*) FROM otn.attachment")) == (["image"], 1)
    assert write("SELECT concat_ws(' ', kind, media_type, bytes, name, uploaded_by) FROM otn.attachment") == (
        f"image image/png {len(PNG)} sunrise.png ann"
    )
    anew = upload(browser, PNG, anew="on", kind="message", message=json.dumps(message, indent=2))
    fresh = write("SELECT attachment_id FROM otn.attachment")
    assert fresh != attachment_id
    assert fresh in value_of(anew.text, "message")


def test_what_somebody_wrote_is_not_replaced(browser: TestClient) -> None:
    for written, stays in (('{"text": "mine"}', True), (example(next(iter(EXAMPLES))), False)):
        page = upload(browser, PNG, kind="message", message=written).text
        assert (value_of(page, "message") == written) is stays
        assert ("Your message stays as it is" in page) is stays


def test_media_is_chosen_again_from_the_list(browser: TestClient, write: Any) -> None:
    upload(browser, PNG)
    number, attachment_id = write("SELECT id FROM otn.attachment"), write("SELECT attachment_id FROM otn.attachment")
    form = FORM | {"do": "media", "media": str(number)}
    page = browser.post("/compose", data=form)
    assert page.status_code == 200
    assert attachment_id in value_of(page.text, "message")
    assert f'<option value="{number}" selected>a.png: image, 1 KB' in page.text
    wrong = browser.post("/compose", data=form | {"media": "77"})
    assert wrong.status_code == 422
    assert "no such media" in problem(wrong.text, "media")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "This file is empty"), (PNG + b"\0" * 200_000, "more than the 25 MB")],
    ids=["empty", "large"],
)
def test_a_file_that_cannot_be_taken_costs_nothing_of_the_form(
    browser: TestClient, content: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otn.console.uploaded.ATTACHMENT_BYTES_LIMIT", 100_000)
    answer = browser.post(
        "/compose/media", files=[("file", ("a.png", content)), *((k, (None, v)) for k, v in FORM.items())]
    )
    assert answer.status_code == 422
    assert said in problem(answer.text, "file")
    assert value_of(answer.text, "text") == FORM["text"]


def test_without_a_file_or_a_page_it_says_so(browser: TestClient) -> None:
    nothing = browser.post("/compose/media", data=FORM, files={"file": ("", b"")})
    assert "No file is chosen" in problem(nothing.text, "file")
    assert "Choose the page first" in problem(upload(browser, PNG, page="nobody").text, "file")


def test_a_body_without_end_is_cut_off(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otn.console.uploaded.MOST_BYTES", 200_000)
    assert upload(browser, b"\0" * 300_000).status_code == 413
    monkeypatch.setattr("otn.console.uploaded.BYTES_LIMIT", 1_000)
    assert upload(browser, PNG, text="x" * 2_000).status_code == 413


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"page=x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"no form"),
        ("multipart/form-data; boundary=" + "a" * 2_000, b"x"),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data; name=\xff\r\n"),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\x89PNG',
        ),
        ("", b""),
    ],
)
def test_what_is_no_form_is_refused(browser: TestClient, kind: str, body: bytes) -> None:
    answer = browser.post("/compose/media", content=body, headers={"content-type": kind})
    assert answer.status_code == 400


def test_what_the_platform_says_is_said_without_a_token(browser: TestClient, sandbox: Sandbox, caplog: Any) -> None:
    token = sandbox.page("1000000001", dead=463)["access_token"]
    try:
        answer = upload(browser, PNG)
    finally:
        sandbox.page("1000000001", dead=None)
    assert answer.status_code == 422
    assert "190" in problem(answer.text, "file")
    assert token not in answer.text + caplog.text


def test_a_connection_of_another_page_uploads_nothing(browser: TestClient, write: Any) -> None:
    write("UPDATE otn.page SET page_id = '5'")
    answer = upload(browser, PNG)
    assert answer.status_code == 422
    assert write("SELECT count(*) FROM otn.attachment") == 0


def test_killed_between_the_call_and_the_commit_it_is_handed_over_again(browser: TestClient, shop: Any) -> None:
    found = read_media(PNG)
    assert found is not None
    calls: list[str] = []

    class Client:
        def upload_attachment(self, *_: Any, **__: Any) -> str:
            calls.append(str(len(calls)))
            return "" if len(calls) == 1 else "2"  # an id that the table refuses: the commit does not come about

    def run() -> tuple[media.Attachment, bool]:
        return media.hand_over(shop.engine, Client(), shop.page_row, found, name="a", actor="ann")  # type: ignore[arg-type]

    with pytest.raises(DatabaseError):
        run()
    assert media.listing(shop.engine, shop.page_row) == []
    assert (run()[0].attachment_id, run()[1], len(calls)) == ("2", False, 2)


def test_two_who_upload_the_same_at_once_get_one_id(browser: TestClient, shop: Any, sandbox: Sandbox) -> None:
    found = read_media(PNG)
    assert found is not None
    both = threading.Barrier(2)

    class Client:
        def __init__(self, given: str) -> None:
            self.given = given

        def upload_attachment(self, *_: Any, **__: Any) -> str:
            both.wait(20)
            return self.given

    ids: list[str] = []

    def run(given: str) -> None:
        kept, _ = media.hand_over(shop.engine, Client(given), shop.page_row, found, name="a", actor="ann")  # type: ignore[arg-type]
        ids.append(kept.attachment_id)

    threads = [threading.Thread(target=run, args=(given,)) for given in ("1", "2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_media_of_another_page_is_named_before_anything_starts(browser: TestClient, shop: Any, write: Any) -> None:
    upload(browser, PNG)
    attachment_id = write("SELECT attachment_id FROM otn.attachment")
    write("INSERT INTO otn.page (page_id, connection_id) VALUES ('2', 'second')")
    write("UPDATE otn.attachment SET page_id = (SELECT id FROM otn.page WHERE page_id = '2')")
    message = {"attachment": {"type": "image", "payload": {"attachment_id": attachment_id}}}
    form = FORM | {"kind": "message", "message": json.dumps(message)}
    answer = browser.post("/compose", data=form)
    assert answer.status_code == 422
    assert "was handed over for the page second" in problem(answer.text, "message")
    assert "refuses it from another" in browser.post("/compose/count", data=form | {"do": "look"}).text
    with transaction(shop.engine) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO otn.attachment (page_id, sha256, kind, media_type, bytes, name, attachment_id, uploaded_by)"
            " SELECT %s, sha256, kind, media_type, bytes, name, '77', 'me' FROM otn.attachment",
            (shop.page_row,),
        )
    assert "Take its id of this page: 77" in problem(browser.post("/compose", data=form).text, "message")


def test_the_form_asks_for_a_file_without_a_script(browser: TestClient) -> None:
    page = browser.get("/compose").text
    assert 'type="file"' in page
    assert 'formaction="/compose/media" formenctype="multipart/form-data"' in page
    assert browser.post("/compose/count", data=FORM | {"do": "look", "file": "[object File]"}).status_code == 200
