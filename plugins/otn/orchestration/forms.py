"""The trigger forms: what each param means, for the person who fills them, and the keys that are known, to choose from.

Made anew for each DAG: Airflow writes the values of a run into the very objects that it was given.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from otn.consent.reference import REF_LIMIT
from otn.orchestration.ask_params import MOST_STOCK
from otn.orchestration.choices import Choices, read_choices
from otn.settings import DEFAULT_PAGE_CONNECTION

_CAMPAIGN = "Campaign"
_ASK = "Ask"
_AUDIENCE = "Audience"
_SAFETY = "Safety"


def broadcast_params() -> dict[str, Param]:
    """The form of ``otn_broadcast``."""
    known = read_choices()
    return {
        "campaign": Param(
            type="string",
            minLength=1,
            maxLength=200,
            title="Campaign key",
            description="Unique per page. The same key and content resume; other content is refused.",
            section=_CAMPAIGN,
        ),
        "topic": Param(
            type="string",
            minLength=1,
            title="Topic",
            description="Key of the topic that people opted in to. `./otn topics list` shows what there is.",
            section=_CAMPAIGN,
            **_proposed(known.topics),
        ),
        "text": Param(
            None,
            type=["null", "string"],
            format="multiline",
            title="Text",
            description_md='Personal fields: `Hi {{ first_name | default("there") }}`. Or give *Message*.',
            section=_CAMPAIGN,
        ),
        "message": Param(
            None,
            type=["null", "object"],
            title="Message",
            description="A Send API message object (buttons, cards, media), instead of the text.",
            section=_CAMPAIGN,
        ),
        "page": _page(known, _CAMPAIGN),
        **_labels(),
        "max_recipients": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="At most so many people",
            description="Those whose tokens expire soonest come first. Empty: everyone.",
            section=_AUDIENCE,
        ),
        "filter": Param(
            {},
            type=["null", "object"],
            title="Filter",
            description_md='Further bounds: `{"ref": ["sku-1"], "locale": ["en_US"], "attributes": {"city": ["Oslo"]}, '
            '"opted_in_from": "2027-03-01T00:00:00+01:00"}`; also `opted_in_until`, `interacted_from`, '
            "`interacted_until`. Empty: none.",
            section=_AUDIENCE,
        ),
        "result_labels": Param(
            {},
            type=["null", "object"],
            title="Labels by result",
            description_md='Put on people when a run ends: `{"sent": ["got-spring"], "read": ["warm"]}`. Results: '
            "`sent`, `refused`, `unknown`, `skipped`, `delivered`, `read`.",
            section=_AUDIENCE,
        ),
        "send_at": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Send at",
            description="Not before this moment, with a time zone: 2027-03-01T09:00:00+01:00. Empty: at once.",
            section=_SAFETY,
        ),
        "canary": Param(
            0,
            type="integer",
            minimum=0,
            title="Canary",
            description="So many people first; if their answers are bad, nobody else gets it. 0: no canary.",
            section=_SAFETY,
        ),
        "canary_labels": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="Canary by label",
            description="Whoever carries one of these labels comes first too: staff, say. One per line.",
            section=_SAFETY,
        ),
        "approval": Param(
            True,  # noqa: FBT003 - Param's default is positional
            type="boolean",
            title="Ask for approval",
            description="A person sees content, audience and cost, and says yes before anything is sent.",
            section=_SAFETY,
        ),
        "dry_run": _dry_run(),
        "if_late": Param(
            "ask",
            type="string",
            enum=["ask", "send", "cancel"],
            values_display={"ask": "Ask a person", "send": "Send all the same", "cancel": "Cancel it"},
            title="If it starts late",
            description="What to do when the start comes later than 'Send at' + 'Late after'.",
            section=_SAFETY,
        ),
        "late_after": Param(
            "1 h",
            type="string",
            title="Late after",
            description="Such as 30 min, 1 h, 2 d.",
            section=_SAFETY,
        ),
        "max_refused": Param(
            0.5,
            type="number",
            exclusiveMinimum=0,
            maximum=1,
            title="Highest share of refusals",
            description="Above it, after 200 answers, the campaign halts. 0.5 is one half.",
            section=_SAFETY,
        ),
    }


def retry_params() -> dict[str, Param]:
    """The form of ``otn_retry``."""
    known = read_choices()
    return {
        "campaign": Param(
            type="string",
            minLength=1,
            maxLength=200,
            title="Campaign key",
            description="Of a campaign that was started.",
            section=_CAMPAIGN,
        ),
        "page": _page(known, _CAMPAIGN),
        "scope": Param(
            "waiting",
            type="string",
            enum=["waiting", "refused", "unknown"],
            values_display={
                "waiting": "People who still wait",
                "refused": "Refusals that a later try may cure",
                "unknown": "People of whom nobody knows: ask again",
            },
            title="Who",
            description="Which people are taken up again.",
            section=_AUDIENCE,
        ),
    }


def ask_params() -> dict[str, Param]:
    """The form of ``otn_ask``."""
    known = read_choices()
    return {
        "topic": _optional_text(
            "Topic",
            "Key of the topic. Empty: nobody is asked; what waits inside the 24 h window is sent.",
            _ASK,
            **_proposed(known.topics),
        ),
        "page": _optional_text(
            "Page",
            "Airflow connection of the page. Empty: messenger_default; without a topic every page.",
            _ASK,
            **_proposed(known.pages),
        ),
        "ref": _optional_text(
            "Reference",
            "A product, a show: comes back with the consent, for filters and texts.",
            _ASK,
            maxLength=REF_LIMIT,
        ),
        **_labels(),
        "filter": Param(
            {},
            type=["null", "object"],
            title="Filter",
            description="Keys: locale (list), attributes (name to list), interacted_from, interacted_until.",
            section=_AUDIENCE,
        ),
        "max_people": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="At most so many people",
            description="Those whose 24 h end soonest come first. Empty: everyone.",
            section=_AUDIENCE,
        ),
        "stock": Param(
            1,
            type="integer",
            minimum=1,
            maximum=MOST_STOCK,
            title="Stock",
            description="People with so many unspent consents are not asked. More than 1 needs a reason.",
            section=_SAFETY,
        ),
        "stock_reason": _optional_text("Why more than one", "Kept with the ask.", _SAFETY),
        "override_reason": _optional_text(
            "Ask in spite of region and feature",
            "Why. Kept with the ask and in the audit. Empty: both are heeded.",
            _SAFETY,
        ),
        "dry_run": _dry_run(),
    }


def params_of_test() -> dict[str, Param]:
    """The form of ``otn_test_message``."""
    content = broadcast_params()
    return {
        **{name: content[name] for name in ("topic", "text", "message", "page")},
        "people": Param(
            type="array",
            items={"type": "integer"},
            minItems=1,
            title="People",
            description="Our numbers of one to ten people whose 24 h window is open, one per line.",
            section=_AUDIENCE,
        ),
    }


def _page(known: Choices, section: str) -> Param:
    return Param(
        DEFAULT_PAGE_CONNECTION,
        type="string",
        minLength=1,
        title="Page",
        description="Airflow connection of the Facebook page.",
        section=section,
        **_proposed(known.pages),
    )


def _proposed(keys: tuple[str, ...]) -> dict[str, Any]:
    """Airflow's form offers ``examples`` and takes any other text too; an ``enum`` would refuse what is new."""
    return {"examples": list(keys)} if keys else {}


def _labels() -> dict[str, Param]:
    texts = {
        "include_labels": ("With all of these labels", "One per line. Empty: everyone."),
        "exclude_labels": ("With none of these labels", "One per line."),
    }
    return {
        name: Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title=title,
            description=description,
            section=_AUDIENCE,
        )
        for name, (title, description) in texts.items()
    }


def _dry_run() -> Param:
    return Param(
        False,  # noqa: FBT003 - Param's default is positional
        type="boolean",
        title="Dry run",
        description="Count and show only; nothing is written, nothing is sent.",
        section=_SAFETY,
    )


def _optional_text(title: str, description: str, section: str, **schema: Any) -> Param:
    return Param(None, type=["null", "string"], title=title, description=description, section=section, **schema)
