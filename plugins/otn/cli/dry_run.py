"""What a broadcast would do: whom it would reach, why nobody else, and what it costs. Writes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from otn.campaign import audience
from otn.campaign.model import Audience
from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption, database, page_named
from otn.consent import topics
from otn.database import Engine, transaction
from otn.errors import UsageError
from otn.orchestration.params import BroadcastRequest
from otn.orchestration.preview import REASONS, unanswered_buttons
from otn.rendering import compile_message

CONF_BYTES = 1_000_000
EXAMPLE_KEY = "dry-run"  # nothing is opened, so any name will do


def plan(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Needed: people are planned by a run of Airflow.")] = False,
    conf: Annotated[
        str | None, typer.Option("--conf", metavar="FILE", help="Params of otn_broadcast as JSON; - is standard input.")
    ] = None,
    topic: Annotated[str | None, typer.Option("--topic", help="Key of the topic.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Text of the message.")] = None,
    page: Annotated[str | None, typer.Option("--page", metavar="CONN", help="Connection of the page.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count whom a broadcast would reach, with a reason for everyone else; nothing is written, nothing is sent.

    Labels, filter and bounds go into --conf, as a run takes them; options go before what it says.
    Exit code 0: it could be sent, be it to nobody; 2: a param cannot be used; 1: anything else, such as a database that
    does not answer.
    """
    if not dry_run:
        raise UsageError("People are planned by the DAG otn_broadcast. Add --dry-run to count them here.")
    given = {"topic": topic, "text": text, "page": page}
    params = (
        {"campaign": EXAMPLE_KEY} | _read(conf) | {name: value for name, value in given.items() if value is not None}
    )
    request = BroadcastRequest.from_params(params)
    compile_message(request.spec.message)
    with database(home) as engine:
        told, found = _count(engine, request)
    if as_json:
        screen.print_json(told)
        return
    _show(told, found)


def _read(conf: str | None) -> dict[str, Any]:
    if conf is None:
        return {}
    try:
        if conf == "-":
            text = sys.stdin.read(CONF_BYTES + 1)
        else:
            with Path(conf).open(encoding="utf-8") as file:
                text = file.read(CONF_BYTES + 1)
        found = json.loads(text) if len(text) <= CONF_BYTES else None
    except OSError as error:
        raise UsageError(f"{conf} cannot be read ({error.strerror}). Name a file of params as JSON.") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(
            f"{conf} holds no JSON object of params. Give one such as {{'topic': 'restock', 'text': 'Hi'}}."
        )
    return found


def _count(engine: Engine, request: BroadcastRequest) -> tuple[dict[str, Any], Audience]:
    spec = request.spec
    page = page_named(engine, request.page)
    with transaction(engine) as connection:
        topic = topics.find(connection, page, request.topic)
    found = audience.count(
        engine,
        topic_id=topic.id,
        include_labels=spec.include_labels,
        exclude_labels=spec.exclude_labels,
        max_recipients=spec.max_recipients,
        chosen_by=spec.filter,
    )
    return {
        "page": page.connection_id,
        "topic": topic.key,
        "audience": found.people,
        "planned": found.recipients,
        "excluded": found.excluded,
        "tokens_spent": found.recipients,
        "tokens_dying": found.dying,
        "unanswered_buttons": unanswered_buttons(engine, page.id, spec.message),
    }, found


def _show(told: dict[str, Any], found: Audience) -> None:
    screen.out().print(f"{screen.plain(told['topic'])}  {screen.plain(told['page'])}", style="bold")
    rows = [("get it", found.recipients)]
    rows += [(f"  {REASONS.get(reason, reason)}", people) for reason, people in found.excluded.items()]
    rows += [("everyone who ever opted in", found.people)]
    screen.print_table(("", "people"), ((what, f"{people:,}") for what, people in rows), right=["people"])
    screen.say(f"It would spend {found.recipients:,} consents; {found.dying:,} of them end within 30 days anyway.")
    for payload in told["unanswered_buttons"]:
        screen.warn(f"No rule answers the button with the payload {screen.plain(payload)}. See `./otn rules add`.")
    screen.say("Nothing was written, and nothing is sent.")
