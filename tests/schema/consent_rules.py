"""For each rule about asking, answering, silence and leaving: SQL that breaks it and nothing else."""

from __future__ import annotations

from tests.schema.rules import campaign, insert, topic

CALLED = {"attempts": "1", "attempt_id": "gen_random_uuid()", "called_at": "now()"}

# A row in each state as the sender writes it: what breaks a rule differs from it in one point.
WINDOW_MESSAGES: dict[str, dict[str, str]] = {
    "waiting": {},
    "sending": {**CALLED, "lease_until": "now()"},
    "sent": {**CALLED, "evidence": "'answer'", "message_id": "'m_1'", "sent_at": "now()"},
    "refused": {**CALLED, "error_code": "551"},
    "unknown": {**CALLED, "reason": "'no_answer'"},
    "skipped": {"reason": "'window_closed'"},
}


def window_message(state: str = "waiting", **changes: str) -> str:
    whose = {"page_id": "1", "subscriber_id": "2", "cause": "'rule'", "event_id": "2", "topic_id": "1"}
    content = {"card": "true", "message": "'{}'", "not_after": "now()"}
    return insert("window_message", {**whose, **content, "state": f"'{state}'", **WINDOW_MESSAGES[state], **changes})


def asked(**changes: str) -> str:
    return window_message(**{"cause": "'ask'", "event_id": "NULL", "ask_id": "1", **changes})


def tested(**changes: str) -> str:
    return window_message(
        **{"cause": "'test'", "event_id": "NULL", "test_id": "1", "card": "false", "topic_id": "NULL", **changes}
    )


def attachment(**changes: str) -> str:
    values = {"page_id": "1", "sha256": "sha256('new')", "kind": "'video'", "media_type": "'video/mp4'", "bytes": "9"}
    return insert("attachment", {**values, "name": "''", "attachment_id": "'7'", "uploaded_by": "'me'", **changes})


def rule(**changes: str) -> str:
    values = {"page_id": "1", "key": "'new'", "trigger": "'word'", "pattern": "'hello'", "topic_id": "1"}
    return insert("rule", {**values, **changes})


def ask(**changes: str) -> str:
    return insert("ask", {"page_id": "1", "topic_id": "1", "key": "'second'", **changes})


def attempt(step: str = "'intent'", **changes: str) -> str:
    values = {"window_message_id": "1", "attempt_id": "gen_random_uuid()", "sender": "'me'"}
    return insert("window_attempt", {**values, "step": step, **changes})


def deletion(**changes: str) -> str:
    values = {"id": "gen_random_uuid()", "code": "'new'", "user_id": "'sealed'", "user_hash": "sha256('new')"}
    return insert("deletion_request", {**values, **changes})


def suppression(**changes: str) -> str:
    return insert("suppression", {"subscriber_id": "1", "reason": "'operator'", **changes})


ACCEPTED = {
    "topic with a reply": topic(reply="""'{"text": "thanks"}'""", labels="'{vip}'"),
    "adopted topic": topic(title="NULL", registered_at="NULL", adopted_by="1"),
    "rule": rule(),
    "rule with a message": rule(topic_id="NULL", message="'{}'"),
    "rule with both": rule(message="'{}'", ref="'shoes'", stock="2"),
    "rule for any reaction": rule(trigger="'reaction'", pattern="NULL"),
    "rule for anything": rule(trigger="'any'", pattern="NULL"),
    "the same word on another page": rule(page_id="2", pattern="'restock'", topic_id="2"),
    "ask": ask(),
    "ask for a larger stock": ask(stock="2", stock_reason="'two shows'"),
    **{f"window message {state}": window_message(state) for state in WINDOW_MESSAGES},
    "asked": asked(),
    "tested": tested(),
    "the same file on another page": attachment(page_id="2", sha256="sha256('picture')"),
    "forgotten message": window_message("sent", message="NULL"),
    "tapped card": window_message("unknown", tapped_at="now()"),
    "window intent": attempt(),
    "window answer": attempt("'answer'", outcome="'sent'"),
    "attempt that was forgotten": "UPDATE otn.attempt SET message_id = NULL, reason = NULL",
    "window attempt that was forgotten": "UPDATE otn.window_attempt SET message_id = NULL, reason = NULL",
    "erased person": "UPDATE otn.subscriber SET psid = NULL, erased_at = now() WHERE id = 1",
    "silence for one topic": suppression(topic_id="1"),
    "two silences": suppression(subscriber_id="3"),
    "deletion request": deletion(),
    "deletion that is done": deletion(state="'done'", user_id="NULL", people="0", done_at="now()"),
    "the same person asks again": deletion(
        state="'done'", user_id="NULL", people="0", done_at="now()", user_hash="sha256('user')"
    ),
    "campaign with a filter": campaign(filter="""'{"ref": ["shoes"]}'"""),
}

CASES: list[tuple[str, str]] = [
    ("topic_reply_is_message", topic(reply="'[]'")),
    ("topic_adopted_is_unregistered", topic(adopted_by="1")),
    ("topic_adopts_another", "UPDATE otn.topic SET adopted_by = id WHERE adopted_by IS NOT NULL"),
    ("rule_key_check", rule(key="''")),
    ("rule_key_once", rule(key="'restock'")),
    ("rule_trigger_once", rule(pattern="'restock'")),
    ("rule_does_something", rule(topic_id="NULL")),
    ("rule_message_is_message", rule(message="'[]'")),
    ("rule_reference_has_card", rule(topic_id="NULL", message="'{}'", ref="'shoes'")),
    ("rule_stock_is_positive", rule(stock="0")),
    ("rule_pattern_where_needed", rule(pattern="NULL")),
    ("rule_pattern_where_needed", rule(pattern="''")),
    ("rule_pattern_where_needed", rule(trigger="'any'")),
    ("rule_pattern_where_needed", rule(trigger="'get_started'")),
    ("rule_pattern_where_needed", rule(trigger="'referral'", pattern="''")),
    ("ask_key_check", ask(key="''")),
    ("ask_key_once", ask(key="'first'")),
    ("ask_stock_is_positive", ask(stock="0", stock_reason="'none'")),
    ("ask_larger_stock_has_reason", ask(stock="2")),
    ("ask_max_is_positive", ask(max_people="0")),
    ("ask_filter_is_object", ask(filter="'[]'")),
    ("window_message_once_per_event", window_message(event_id="1")),
    ("window_message_once_per_ask", asked(subscriber_id="1")),
    (
        "window_message_attempt_once",
        "UPDATE otn.window_message SET attempt_id = sha_id FROM (SELECT gen_random_uuid() AS sha_id) x",
    ),
    ("window_message_has_cause", window_message(event_id="NULL")),
    ("window_message_has_cause", window_message(ask_id="1")),
    ("window_message_has_cause", asked(event_id="2")),
    ("window_message_has_cause", asked(ask_id="NULL")),
    ("window_message_has_cause", window_message(test_id="1", card="false")),
    ("window_message_has_cause", tested(test_id="NULL")),
    ("window_message_has_cause", tested(event_id="2")),
    ("window_message_has_cause", tested(ask_id="1")),
    ("window_message_once_per_test", tested(subscriber_id="1")),
    ("window_message_test_is_no_card", tested(card="true", topic_id="1")),
    ("test_message_key_once", insert("test_message", {"page_id": "1", "topic_id": "1", "key": "'first'"})),
    ("test_message_key_check", insert("test_message", {"page_id": "1", "topic_id": "1", "key": "''"})),
    ("attachment_once", attachment(sha256="sha256('picture')")),
    ("attachment_sha256_is_hash", attachment(sha256="'short'")),
    ("attachment_kind_is_known", attachment(kind="'sticker'")),
    ("attachment_has_size", attachment(bytes="0")),
    ("attachment_has_id", attachment(attachment_id="''")),
    ("window_message_card_has_topic", window_message(topic_id="NULL")),
    ("window_message_ask_is_card", asked(card="false")),
    ("window_message_attempts_check", window_message(attempts="-1")),
    ("window_message_evidence_check", window_message("sent", evidence="'hearsay'")),
    ("window_message_lease_while_sending", window_message("sending", lease_until="NULL")),
    *(
        ("window_message_lease_while_sending", window_message(state, lease_until="now()"))
        for state in WINDOW_MESSAGES
        if state != "sending"
    ),
    *(
        ("window_message_called_has_attempt", window_message(state, **change))
        for state in ("sending", "sent", "refused", "unknown")
        for change in ({"attempt_id": "NULL"}, {"attempts": "0"}, {"called_at": "NULL"})
    ),
    *(
        ("window_message_sent_has_evidence", window_message("sent", **{column: "NULL"}))
        for column in ("evidence", "sent_at", "message_id")
    ),
    *(
        ("window_message_sent_has_evidence", window_message(state, **change))
        for state in WINDOW_MESSAGES
        if state != "sent"
        for change in ({"evidence": "'echo'"}, {"sent_at": "now()"}, {"message_id": "'m_1'"})
    ),
    ("window_message_refused_has_code", window_message("refused", error_code="NULL")),
    ("window_message_says_why", window_message("unknown", reason="NULL")),
    ("window_message_says_why", window_message("skipped", reason="NULL")),
    *(
        ("window_message_to_send_has_content", window_message(state, message="NULL"))
        for state in ("waiting", "sending")
    ),
    ("window_message_only_cards_are_tapped", window_message(card="false", tapped_at="now()")),
    ("window_message_transition_is_known", "UPDATE otn.window_message SET state = 'refused'"),
    ("window_attempt_step_check", attempt("'thought'")),
    ("window_attempt_outcome_check", attempt("'answer'", outcome="'perhaps'")),
    ("window_attempt_answer_has_outcome", attempt("'answer'")),
    ("window_attempt_answer_has_outcome", attempt("'intent'", outcome="'sent'")),
    ("window_attempt_is_append_only", "UPDATE otn.window_attempt SET reason = 'changed'"),
    ("window_attempt_is_append_only", "UPDATE otn.window_attempt SET sender = 'somebody else'"),
    ("window_attempt_is_not_emptied", "TRUNCATE otn.window_attempt"),
    ("subscriber_erased_has_no_name", "UPDATE otn.subscriber SET psid = NULL WHERE id = 1"),
    ("subscriber_erased_has_no_name", "UPDATE otn.subscriber SET erased_at = now() WHERE id = 1"),
    (
        "subscriber_erased_has_no_name",
        "UPDATE otn.subscriber SET erased_at = now(), psid = NULL, labels = '{vip}' WHERE id = 1",
    ),
    (
        "subscriber_erased_has_no_name",
        "UPDATE otn.subscriber SET erased_at = now(), psid = NULL, first_name = 'Anna' WHERE id = 1",
    ),
    ("suppression_once", suppression(subscriber_id="3", topic_id="1", reason="'stop_word'")),
    ("suppression_unreachable_is_whole", suppression(reason="'unreachable'", topic_id="1")),
    ("deletion_request_code_check", deletion(code="''")),
    ("deletion_request_code_key", deletion(code="'code'")),
    ("deletion_request_user_hash_check", deletion(user_hash="'short'")),
    ("deletion_request_state_check", deletion(state="'soon'", user_id="NULL", people="0", done_at="now()")),
    ("deletion_request_done_forgets", deletion(user_id="NULL")),
    ("deletion_request_done_forgets", deletion(people="1")),
    ("deletion_request_done_forgets", deletion(state="'done'", people="0", done_at="now()")),
    ("deletion_request_done_forgets", deletion(state="'done'", user_id="NULL", people="0")),
    ("deletion_request_once_at_a_time", deletion(user_hash="sha256('user')")),
    ("campaign_filter_is_object", campaign(filter="'[]'")),
    ("campaign_filter_is_object", campaign(result_labels="'[]'")),
]
