"""What comes in: from the world to the receiver, from the receiver to the tables."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from otn.cli.examination import found
from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.settings import read_public_url
from otn.watch import look, receivers

RECEIVERS_S = 8
PUBLIC_S = 5
OURS = 403  # what the receiver answers to a handshake without the word


def taking(case: Case) -> Iterator[Check]:
    """Whether receivers answer, and have room."""
    if not look.can_receive(case.asked):
        yield Check(
            "webhooks.receiver", "unseen", "No page has the secrets that webhooks are checked with: none comes."
        )
        return
    urls = look.receiver_urls(case.environment)
    if not urls:
        text = "Where the receiver answers is not known here."
        yield Check("webhooks.receiver", "unseen", text, "Set OTN_RECEIVER_URL to have it looked at.")
        return
    yield from found.checks(case, receivers.findings(urls, limit_s=RECEIVERS_S))


def public(case: Case) -> Iterator[Check]:
    """Whether the address that the platform calls leads to a receiver."""
    import requests

    url = read_public_url(case.environment)
    if url is None:
        text = "Whether the platform reaches the receiver cannot be seen from here."
        yield Check("webhooks.public", "unseen", text, "Set OTN_PUBLIC_URL to the receiver's address in the world.")
        return
    if urlsplit(url).scheme != "https":
        text = f"OTN_PUBLIC_URL is {url}: the platform calls by https only."
        yield Check("webhooks.public", "yellow", text, "Put TLS in front of the receiver, and give its https address.")
        return
    try:
        status = requests.get(f"{url}/webhook", timeout=PUBLIC_S, allow_redirects=False).status_code
    except requests.RequestException as error:
        text = f"{url} cannot be reached from this machine ({type(error).__name__})."
        yield Check(
            "webhooks.public", "yellow", text, "See name, certificate and proxy; the platform may still reach it."
        )
        return
    if status == OURS:
        yield Check("webhooks.public", "green", f"A receiver answers at {url}.")
    else:
        text = f"At {url}/webhook something answers {status}, which is no receiver of ours."
        yield Check("webhooks.public", "yellow", text, "Let the proxy pass /webhook, /data-deletion and /deletion on.")


QUESTIONS = (
    *found.group("database"),
    *found.group("webhooks"),
    Question(("webhooks.receiver", "webhooks.spool"), taking, needs="schema"),
    Question(("webhooks.public",), public),
)
