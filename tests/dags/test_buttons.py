"""A campaign's buttons that nothing answers are named before it is sent."""

from __future__ import annotations

import logging
from types import SimpleNamespace

from otn.campaign import control
from otn.campaign.model import CampaignSpec
from otn.consent import pages, rulemaking, topics
from otn.consent.rulemaking import RuleSpec
from otn.database import transaction
from otn.orchestration.broadcasting import _warn_of_buttons
from otn.orchestration.preview import Preview
from tests.clean import database, emptied_url
from tests.consent.inbox import page_settings

__all__ = ["database", "emptied_url"]

BUTTONS = [
    {"type": "postback", "title": "Buy", "payload": "BUY"},
    {"type": "postback", "title": "More", "payload": "MORE `now`"},
]
MESSAGE = {"attachment": {"type": "template", "payload": {"template_type": "button", "text": "Hi", "buttons": BUTTONS}}}


def test_unanswered_buttons_stand_in_the_log_and_in_the_question(database, caplog):
    with transaction(database) as conn:
        page = pages.register(conn, page_settings())
        topic = topics.add(conn, page, "restock", "Back in stock")
        rulemaking.add(conn, page, RuleSpec("buy", "postback", "BUY", topic="restock"), actor="test")
    spec = CampaignSpec(key="spring", message=MESSAGE, approval=True)
    with caplog.at_level(logging.WARNING):
        assert _warn_of_buttons(database, SimpleNamespace(spec=spec), page) == ["MORE `now`"]
    assert "payload 'MORE `now`'" in caplog.text

    ids = {"page_row_id": page.id, "topic_row_id": topic.id, "topic_key": topic.key}
    opened = control.open_campaign(database, spec, facebook_page_id=page.page_id, actor="test", **ids)
    shown = Preview.of_campaign(database, opened.id).markdown()
    assert "**No rule answers its buttons** with the payload `` MORE `now` ``" in shown

    with transaction(database) as conn:
        rulemaking.add(conn, page, RuleSpec("more", "postback", "MORE `now`", message="Soon"), actor="test")
    caplog.clear()
    assert _warn_of_buttons(database, SimpleNamespace(spec=spec), page) == []
    assert caplog.text == ""
    assert "No rule answers" not in Preview.of_campaign(database, opened.id).markdown()
