"""Files, names and addresses that want to be more than that."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest

from otn.cli import export, screen
from otn.consent import marked_yaml, people_file
from otn.consent.marked_yaml import YamlError
from otn.consent.people_file import PeopleFileError
from otn.errors import ConfigurationError
from otn.messenger.client import PageCredentials
from otn.orchestration.campaign_files import CampaignFileError, read_file

CPU_S = 5.0  # what ran away before took 15 s and more
YAML_BOMBS = {
    "billion laughs": b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
    "sexagesimal": b"a: 1" + b":1" * 250_000,
    "sexagesimal, with a point": b"a: 1" + b":1" * 250_000 + b".5",
    "digits": b"a: " + b"9" * 500_000,
    "hexadecimal digits": b"a: 0x" + b"f" * 500_000,
    "lists in lists": b"[" * 500_000,
    "mappings in mappings": b"{" * 500_000,
    "dashes": b"- " * 250_000,
    "questions": b"? " * 250_000,
    "name of a function": b"a: !!python/name:os.system x",
    "two documents": b"---\n" * 100_000,
    "NUL": b"a: \x00",
    "too large": b"a" * 600_000,
}
INERT = {
    "call": b'a: !!python/object/apply:os.system ["id"]',
    "object": b"a: !!python/object:os.x {b: 1}",
    "merge": b"<<: {a: 1}",
}
FORMULAS = (
    '=HYPERLINK("http://x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\u00a0=1",
    "\x00=1",
    "\uff1d1+1",
    "a;=1+1",
    "a\t=1",
    "a,=1",
    'a;"=1+1"',
    "'=1",
)
HARMLESS = ("Ada", "a-b", "a=b", "2027-01-01T00:00:00+00:00", "m_abc-=", "1:2;3", "a; b", "=" * 0)
COMMANDS = (
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m",
    "a\rb",
    "a\x08b",
    "\u202egnp.exe",
    "\u2066x",
    "[red]x[/red]",
)


@pytest.mark.parametrize("name", YAML_BOMBS)
def test_a_yaml_bomb_is_refused_at_once(name: str) -> None:
    began = time.process_time()
    with pytest.raises(YamlError):
        marked_yaml.read(YAML_BOMBS[name])
    assert time.process_time() - began < CPU_S


@pytest.mark.parametrize("name", INERT)
def test_a_tag_of_python_makes_no_object(name: str) -> None:
    json.dumps(marked_yaml.read(INERT[name]).value)  # nothing but mappings, lists and texts


@pytest.mark.parametrize("kind", ["pipe", "folder", "a link to a pipe"])
def test_a_campaign_file_that_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "spring.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    with pytest.raises(CampaignFileError, match="no regular file"):
        read_file(path)


def test_a_campaign_file_that_leads_to_a_secret_does_not_tell_it(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("OTN_ENCRYPTION_KEYS=the-key-of-keys\nTOKEN: the-token\n")
    path = tmp_path / "spring.yaml"
    path.symlink_to(tmp_path / "secrets.env")
    with pytest.raises(CampaignFileError) as refusal:
        read_file(path)
    assert "the-key" not in str(refusal.value)
    assert "the-token" not in str(refusal.value)


class Endless(io.TextIOBase):
    """A file of one line that never ends; it notes how much of it was read."""

    def __init__(self, head: str) -> None:
        self._head = head
        self.given = 0

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        assert size is not None
        assert size > 0, "read without a bound"
        line, self._head = self._head or "x" * size, ""
        self.given += len(line)
        assert self.given < 10_000_000
        return line


@pytest.mark.parametrize("head", ["", "psid,label\n"], ids=["heading", "row"])
def test_a_line_without_end_is_given_up(head: str) -> None:
    with pytest.raises(PeopleFileError, match="longer than"):
        list(people_file._read(Endless(head)))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text: str) -> None:
    cell = str(export.cell(text))
    assert cell != text
    for start in "".join(";" if char in ";,\t\r\n" else char for char in cell).split(";"):
        assert not start.strip(' \u00a0\x00"').startswith(("=", "+", "-", "@", "\uff1d")), cell


@pytest.mark.parametrize("text", HARMLESS)
def test_a_cell_that_is_none_stays_as_it_is(text: str) -> None:
    assert export.cell(text) == text


@pytest.mark.parametrize("text", COMMANDS)
def test_a_name_commands_no_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    screen.say(text)
    screen.warn(text)
    screen.print_table(["name"], [[text]])
    screen.err().print(f"Error: {text}", style="red")
    screen.print_json({text: text})
    export.write_jsonl(__import__("sys").stdout, [{"name": text}])
    said = "".join(capsys.readouterr())
    assert not [char for char in said if char not in "\n\t" and not char.isprintable()]
    if text.startswith("[red]"):
        assert said.count("[red]") == 7
    assert json.loads(said.splitlines()[-1] if "name" in said.splitlines()[-1] else '{"name": ""}') is not None


def test_json_means_the_same_escaped() -> None:
    for text in COMMANDS:
        assert json.loads(screen.escaped(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize(
    "url",
    [
        "http://graph.facebook.com",
        "http://10.0.0.1",
        "http://169.254.169.254",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://[2001:db8::1]",
        "http://0x7f000001.example",
    ],
)
def test_no_token_travels_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigurationError, match="in the clear"):
        PageCredentials(url, "1", "EAAB-token")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://x",
        "https://user:word@graph.facebook.com",
        "https://graph.facebook.com?x=1",
        "https://graph.facebook.com#@evil.example",
        "https://graph facebook",
        "https://graph.facebook.com\r\nX: y",
        "//graph.facebook.com",
    ],
)
def test_a_base_address_is_an_address_and_nothing_more(url: str) -> None:
    with pytest.raises(ConfigurationError):
        PageCredentials(url, "1", "EAAB-token")


@pytest.mark.parametrize(
    "url", ["https://graph.facebook.com", "http://127.0.0.1:8", "http://localhost:8", "http://[::1]:8"]
)
def test_the_platform_and_this_machine_are_reached(url: str) -> None:
    assert PageCredentials(url, "1", "EAAB-token").base_url == url
