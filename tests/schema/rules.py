"""For each rule of the schema: SQL that breaks it and nothing else."""

from __future__ import annotations

from typing import Any

CALLED = {"attempts": "1", "attempt_id": "gen_random_uuid()"}

# A row in each state as the engine writes it: what breaks a rule differs from it in one point.
RECIPIENTS: dict[str, dict[str, str]] = {
    "waiting": {},
    "sending": {**CALLED, "unanswered": "1", "lease_until": "now()"},
    "sent": {**CALLED, "evidence": "'answer'", "message_id": "'m_1'", "sent_at": "now()"},
    "refused": {**CALLED, "error_code": "551"},
    "unknown": {**CALLED, "unanswered": "1", "reason": "'lease_lost'"},
    "skipped": {"reason": "'suppressed'"},
    "cancelled": {},
}

PLANNED = {"planned_at": "now()", "chunks": "1"}
CAMPAIGNS: dict[str, dict[str, str]] = {
    "draft": {},
    "awaiting_approval": {"needs_approval": "true"},
    "scheduled": {},
    "sending": PLANNED,
    "paused": PLANNED,
    "halted": {**PLANNED, "halt_reason": "'a stop rule'"},
    "interrupted": PLANNED,
    "finished": {**PLANNED, "finished_at": "now()"},
    "cancelled": {"finished_at": "now()"},
}


def insert(table: str, values: dict[str, str]) -> str:
    return f"INSERT INTO otn.{table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"


def recipient(state: str = "waiting", *, campaign: int = 1, person: int = 2, token: int = 2, **changes: str) -> str:
    whose = {"campaign_id": str(campaign), "subscriber_id": str(person), "token_id": str(token), "chunk": "1"}
    return insert("recipient", {**whose, "state": f"'{state}'", **RECIPIENTS[state], **changes})


def campaign(state: str = "draft", **changes: str) -> str:
    content = {"page_id": "1", "topic_id": "1", "key": "'new'", "message": "'{}'", "content_hash": "sha256('new')"}
    return insert(
        "campaign", {**content, "needs_approval": "false", "state": f"'{state}'", **CAMPAIGNS[state], **changes}
    )


def token(**changes: str) -> str:
    values = {"subscriber_id": "1", "topic_id": "1", "token_hash": "sha256('new')", "token_encrypted": "'sealed'"}
    life = {"opted_in_at": "'2026-01-01'", "expires_at": "'2026-06-01'"}
    return insert("token", {**values, **life, **changes})


def endpoint(**changes: str) -> str:
    values = {"page_id": "1", "key": "'new'", "url": "'https://example.org'", "kinds": "ARRAY['recipients']"}
    return insert("endpoint", {**values, "secret": "'sealed'", "created_by": "'me'", **changes})


def outgoing_event(**changes: str) -> str:
    values = {"page_id": "1", "campaign_id": "1", "kind": "'recipients'", "content": "'{}'"}
    return insert("outgoing_event", {**values, **changes})


def calibration(**changes: str) -> str:
    values = {"page_id": "1", "api_version": "'v25.0'", "fate": "'invalid'", "code": "100", "pattern": "'no token'"}
    return insert("calibration", {**values, "campaign_id": "1", **changes})


def alarm(**changes: str) -> str:
    values = {"page_id": "1", "kind": "'new'", "level": "'warn'", "sentence": "'It is so.'", "advice": "''"}
    return insert("alarm", {**values, **changes})


def landed(**changes: str) -> str:
    values = {"landing_id": "1", "name": "'b.jsonl'", "size": "1", "version": "'1'", "due_at": "now()"}
    return insert("landing_file", {**values, **changes})


def silence(**changes: str) -> str:
    values = {"psid_hash": "sha256('away')", "reason": "'stop_word'", "since": "now()", "lifted": "false"}
    return insert("silence", {**values, **changes})


def topic(**changes: str) -> str:
    values = {"page_id": "1", "key": "'new'", "title": "'New'", "payload": "'new'", "registered_at": "now()"}
    return insert("topic", {**values, **changes})


def webhook(**changes: str) -> str:
    values = {"received_day": "'2000-01-01'", "id": "gen_random_uuid()", "body": "'sealed'"}
    return insert("webhook_event", {**values, **changes})


def ingested(**changes: str) -> str:
    figures = {"ingested_at": "now()", "events": "6", "ingested": "3", "duplicate": "2", "quarantined": "1"}
    return webhook(**{**figures, **changes})


def event(**changes: str) -> str:
    values = {"fingerprint": "sha256('new')", "page_id": "1", "kind": "'policy'", "occurred_at": "now()"}
    return insert("event", {**values, "webhook_day": "'2000-01-01'", "webhook_id": "gen_random_uuid()", **changes})


def attempt(step: str = "'intent'", **changes: str) -> str:
    values = {"campaign_id": "1", "subscriber_id": "1", "attempt_id": "gen_random_uuid()", "sender": "'me'"}
    return insert("attempt", {**values, "step": step, **changes})


def quarantine(**changes: str) -> str:
    values = {"webhook_day": "'2000-01-01'", "webhook_id": "gen_random_uuid()", "position": "'0/0'"}
    return insert("quarantine", {**values, "reason": "'no_psid'", "item": "'sealed'", **changes})


def page(**changes: str) -> str:
    return insert("page", {"page_id": "'300'", "connection_id": "'third'", **changes})


ACCEPTED = {
    "page": page(),
    "halted page": page(halted_at="now()", halt_reason="'368'"),
    "topic": topic(),
    "topic met in an opt-in": topic(title="NULL", registered_at="NULL"),
    "the payload of another page": topic(page_id="2", payload="'new'"),
    "webhook": webhook(),
    "ingested webhook": ingested(),
    "redacted webhook": ingested(redacted_at="now()"),
    "empty webhook": ingested(events="0", ingested="0", duplicate="0", quarantined="0"),
    "quarantine": quarantine(),
    "token": token(),
    "token of a year": token(expires_at="'2027-01-01'"),
    "wiped token": token(token_encrypted="NULL", wiped_at="now()"),
    "scrubbed token": token(token_encrypted="NULL", wiped_at="now()", scrubbed_at="now()"),
    "event": event(),
    "intent": attempt(),
    "answer": attempt("'answer'", outcome="'sent'"),
    **{f"recipient {state}": recipient(state) for state in RECIPIENTS},
    "inferred": recipient("sent", evidence="'token_used_inferred'", message_id="NULL"),
    "sent while an earlier call is in doubt": recipient("sent", unanswered="1"),
    "waits again after a call": recipient("waiting", **CALLED),
    **{f"campaign {state}": campaign(state) for state in CAMPAIGNS},
    "campaign that somebody approved": campaign(
        "scheduled", needs_approval="true", approved_at="now()", approved_by="'anna'", approved_cap="0"
    ),
    "suppression": "INSERT INTO otn.suppression (subscriber_id, reason) VALUES (1, 'operator')",
    "landed file": landed(),
    "landed file that was taken": landed(state="'taken'", due_at="NULL", taken_at="now()", lines="2", imported="2"),
    "landed file that was refused": landed(state="'refused'", due_at="NULL", error="'vanished'"),
}

CASES: list[tuple[str, str]] = [
    # pages and topics
    ("page_page_id_check", page(page_id="''")),
    ("page_page_id_key", page(page_id="'100'")),
    ("page_connection_id_check", page(connection_id="''")),
    ("page_connection_id_key", page(connection_id="'first'")),
    ("page_halt_has_reason", page(halted_at="now()")),
    ("page_halt_has_reason", page(halt_reason="'368'")),
    ("topic_key_check", topic(key="''")),
    ("topic_key_once", topic(key="'restock'")),
    ("topic_payload_once", topic(payload="'restock'")),
    ("topic_title_check", topic(title="''")),
    ("topic_title_check", topic(title="repeat('x', 66)")),
    ("topic_registered_has_title", topic(title="NULL")),
    # webhooks
    ("webhook_event_balances", ingested(events="7")),
    ("webhook_event_balances", ingested(quarantined="NULL")),
    ("webhook_event_balances", ingested(ingested_at="NULL")),
    ("webhook_event_balances", webhook(duplicate="0")),
    ("webhook_event_balances", webhook(ingested_at="now()")),
    ("webhook_event_balances", ingested(events="0", ingested="1", duplicate="0", quarantined="-1")),
    ("webhook_event_balances", ingested(events="0", ingested="-1", duplicate="1", quarantined="0")),
    ("webhook_event_balances", "UPDATE otn.webhook_event SET ingested_at = now()"),
    ("quarantine_reason_check", quarantine(reason="''")),
    ("quarantine_once", quarantine(webhook_id="'11111111-1111-1111-1111-111111111111'")),
    # people and permissions
    ("subscriber_psid_check", "INSERT INTO otn.subscriber (page_id, psid) VALUES (1, '')"),
    ("subscriber_once", "INSERT INTO otn.subscriber (page_id, psid) VALUES (1, '1001')"),
    ("subscriber_attributes_check", "UPDATE otn.subscriber SET attributes = '[]'"),
    ("subscriber_attributes_check", "UPDATE otn.subscriber SET attributes = 'null'"),
    ("token_token_hash_check", token(token_hash="'short'")),
    ("token_once", token(token_hash="sha256('1')")),
    ("token_once", token(token_hash="sha256('1')", subscriber_id="2", topic_id="2")),
    ("token_source_check", token(source="''")),
    ("token_lives_a_year_at_most", token(expires_at="'2027-01-02'")),
    ("token_lives_a_year_at_most", token(expires_at="'2026-01-01'")),
    ("token_lives_a_year_at_most", token(expires_at="'2025-12-31'")),
    ("token_lives_a_year_at_most", token(expires_at="'infinity'")),
    ("token_wiped_has_no_text", token(wiped_at="now()")),
    ("token_wiped_has_no_text", token(token_encrypted="NULL")),
    ("token_wiped_has_no_text", "UPDATE otn.token SET token_encrypted = NULL"),
    ("suppression_reason_is_known", "INSERT INTO otn.suppression (subscriber_id, reason) VALUES (1, 'mood')"),
    ("tombstone_psid_hash_check", "INSERT INTO otn.tombstone (psid_hash) VALUES ('1001')"),
    ("event_fingerprint_check", event(fingerprint="'short'")),
    ("event_once", event(fingerprint="sha256('event')")),
    # campaigns
    ("campaign_key_check", campaign(key="''")),
    ("campaign_key_once", campaign(key="'spring'")),
    ("campaign_message_check", campaign(message="'[]'")),
    ("campaign_message_check", campaign(message="""'"text"'""")),
    ("campaign_max_recipients_check", campaign(max_recipients="0")),
    ("campaign_canary_check", campaign(canary="-1")),
    ("campaign_max_refused_check", campaign(max_refused="0")),
    ("campaign_max_refused_check", campaign(max_refused="1.01")),
    ("campaign_max_refused_check", campaign(max_refused="'NaN'")),
    ("campaign_if_late_check", campaign(if_late="'shrug'")),
    ("campaign_late_after_check", campaign(late_after="interval '-1 second'")),
    ("campaign_content_hash_check", campaign(content_hash="''")),
    ("campaign_recent_check", campaign(recent="repeat('s', 201)")),
    ("campaign_chunks_check", campaign(chunks="-1")),
    (
        "campaign_approved_cap_check",
        campaign(approved_at="now()", approved_by="'anna'", approved_cap="-1"),
    ),
    ("campaign_halt_has_reason", campaign("halted", halt_reason="NULL")),
    ("campaign_halt_has_reason", campaign("paused", halt_reason="'a stop rule'")),
    ("campaign_approval_is_whole", campaign(approved_at="now()")),
    ("campaign_approval_is_whole", campaign(approved_by="'anna'")),
    ("campaign_approval_is_whole", campaign(approved_at="now()", approved_by="'anna'")),
    *(
        ("campaign_sends_only_approved", campaign(state, needs_approval="true"))
        for state in CAMPAIGNS
        if state not in {"draft", "awaiting_approval", "cancelled"}
    ),
    *(
        ("campaign_sends_only_planned", campaign(state, **{column: "NULL"}))
        for state in ("sending", "paused", "halted", "interrupted", "finished")
        for column in PLANNED
    ),
    ("campaign_end_has_time", campaign("finished", finished_at="NULL")),
    ("campaign_end_has_time", campaign("cancelled", finished_at="NULL")),
    ("campaign_end_has_time", campaign("sending", finished_at="now()")),
    ("campaign_transition_is_known", "UPDATE otn.campaign SET state = 'finished' WHERE key = 'draft'"),
    *(
        ("campaign_content_is_frozen", f"UPDATE otn.campaign SET {change}")
        for change in (
            "page_id = 2",
            "topic_id = 2",
            "key = key || '!'",
            """message = '{"text": "something else"}'""",
            "include_labels = '{vip}'",
            "exclude_labels = '{vip}'",
            "max_recipients = 1",
            """filter = '{"ref": ["shoes"]}'""",
            "content_hash = sha256('other')",
        )
    ),
    (
        "exclusion_reason_is_known",
        "INSERT INTO otn.exclusion (campaign_id, subscriber_id, reason) VALUES (1, 2, 'mood')",
    ),
    # recipients
    ("recipient_chunk_check", recipient(chunk="-1")),
    ("recipient_unanswered_check", recipient("sent", unanswered="-1")),
    ("recipient_attempts_check", recipient(attempts="-1")),
    ("recipient_lease_while_sending", recipient("sending", lease_until="NULL")),
    *(
        ("recipient_lease_while_sending", recipient(state, lease_until="now()"))
        for state in RECIPIENTS
        if state != "sending"
    ),
    ("recipient_doubt_matches_state", recipient("sending", unanswered="0")),
    ("recipient_doubt_matches_state", recipient("unknown", unanswered="0")),
    *(
        ("recipient_doubt_matches_state", recipient(state, unanswered="1"))
        for state in ("waiting", "refused", "skipped", "cancelled")
    ),
    *(
        ("recipient_called_has_attempt", recipient(state, **change))
        for state in ("sending", "sent", "refused", "unknown")
        for change in ({"attempt_id": "NULL"}, {"attempts": "0"})
    ),
    ("recipient_sent_has_evidence", recipient("sent", evidence="NULL")),
    ("recipient_sent_has_evidence", recipient("sent", sent_at="NULL")),
    *(
        ("recipient_sent_has_evidence", recipient(state, **change))
        for state in RECIPIENTS
        if state != "sent"
        for change in ({"evidence": "'token_used_inferred'"}, {"sent_at": "now()"})
    ),
    *(
        ("recipient_stated_has_message", recipient("sent", evidence=f"'{evidence}'", message_id="NULL"))
        for evidence in ("answer", "echo")
    ),
    ("recipient_refused_has_code", recipient("refused", error_code="NULL")),
    ("recipient_says_why", recipient("unknown", reason="NULL")),
    ("recipient_says_why", recipient("skipped", reason="NULL")),
    *(
        ("recipient_seen_was_sent", recipient(state, **{column: "now()"}))
        for state in RECIPIENTS
        if state != "sent"
        for column in ("delivered_at", "read_at")
    ),
    *(
        ("recipient_contested_was_sent", recipient(state, token_contested="true"))
        for state in RECIPIENTS
        if state != "sent"
    ),
    ("recipient_token_once", recipient(token=1)),
    ("recipient_token_once", recipient(campaign=2, person=1, token=1)),
    # attempts and audit
    ("attempt_step_check", attempt("'thought'")),
    ("attempt_outcome_check", attempt("'answer'", outcome="'perhaps'")),
    ("attempt_answer_has_outcome", attempt("'answer'")),
    ("attempt_answer_has_outcome", attempt("'intent'", outcome="'sent'")),
    ("attempt_is_append_only", "UPDATE otn.attempt SET reason = 'changed'"),
    ("attempt_is_append_only", "UPDATE otn.attempt SET message_id = 'm_2'"),
    ("attempt_is_append_only", "UPDATE otn.attempt SET message_id = NULL, sender = 'somebody else'"),
    ("attempt_is_not_emptied", "TRUNCATE otn.attempt"),
    ("audit_is_append_only", "UPDATE otn.audit SET actor = 'somebody else'"),
    ("audit_is_append_only", "DELETE FROM otn.audit"),
    # leaving (0004)
    ("erasure_mark_is_alone", "INSERT INTO otn.erasure_mark (id, bytes, tail, walked) VALUES (2, 0, sha256(''), true)"),
    ("erasure_mark_has_size", "UPDATE otn.erasure_mark SET bytes = -1"),
    ("silence_mark_is_alone", "INSERT INTO otn.silence_mark (id, bytes, tail, owed) VALUES (2, 0, sha256(''), true)"),
    ("silence_mark_has_size", "UPDATE otn.silence_mark SET bytes = -1"),
    ("silence_mark_tail_is_hash", "UPDATE otn.silence_mark SET tail = 'short'"),
    ("silence_psid_hash_is_hash", silence(psid_hash="'short'")),
    ("silence_reason_is_known", silence(reason="'mood'")),
    ("silence_once", silence(payload="'restock'", lifted="true")),
    ("erasure_mark_tail_is_hash", "UPDATE otn.erasure_mark SET tail = 'short'"),
    ("token_scrubbed_was_wiped", token(scrubbed_at="now()")),
    ("token_scrubbed_was_wiped", token(scrubbed_at="now()", token_encrypted="NULL", wiped_at="now()", ref="'shoe'")),
    ("webhook_event_redacted_was_ingested", webhook(redacted_at="now()")),
    ("deletion_request_found_is_count", "UPDATE otn.deletion_request SET found = -1"),
    # 0005: watching
    ("page_only_halts_are_held", "UPDATE otn.page SET halt_held = true"),
    ("page_blocked_is_held", "UPDATE otn.page SET blocked_at = now(), halted_at = now(), halt_reason = 'x'"),
    ("traffic_is_something", "INSERT INTO otn.traffic VALUES (1, '2000-01-01 00:15+00', 0)"),
    ("traffic_by_quarters", "INSERT INTO otn.traffic VALUES (1, '2000-01-01 00:20+00', 1)"),
    ("alarm_kind_is_named", alarm(kind="''")),
    ("alarm_level_is_known", alarm(level="'ok'")),
    ("alarm_told_is_known", alarm(told_as="'ok'", told_at="now()")),
    ("alarm_told_has_time", alarm(told_as="'warn'")),
    ("alarm_told_has_time", alarm(told_at="now()")),
    ("alarm_end_is_told_after_it", alarm(told_as="'ended'", told_at="now()")),
    ("alarm_open_once", alarm(kind="'token'")),
    ("alarm_open_once", alarm(kind="'ingest'", page_id="NULL")),
    # 0007: calibration
    ("calibration_fate_is_known", calibration(fate="'lost'")),
    ("calibration_version_is_named", calibration(api_version="''")),
    ("calibration_pattern_is_something", calibration(pattern="''")),
    ("calibration_tells_apart", calibration(pattern="'spent'")),
    # 0010: quota
    ("pace_quota_is_positive", "UPDATE otn.pace SET quota = 0, quota_at = now()"),
    ("pace_quota_has_time", "UPDATE otn.pace SET quota = 200"),
    ("call_count_not_negative", "UPDATE otn.call_count SET calls = -1"),
    # 0009: the epoch
    ("epoch_is_alone", "INSERT INTO otn.epoch (id) VALUES (2)"),
    ("epoch_number_is_count", "UPDATE otn.epoch SET number = -1, identity = '{}'"),
    ("epoch_identity_is_object", "UPDATE otn.epoch SET identity = '[]'"),
    ("epoch_that_counts_has_identity", "UPDATE otn.epoch SET number = 1"),
    ("epoch_halt_has_reason", "UPDATE otn.epoch SET halted_at = now()"),
    ("epoch_halt_has_reason", "UPDATE otn.epoch SET halt_reason = 'restored'"),
    # 0008: landing
    ("landing_once", "INSERT INTO otn.landing (url) VALUES ('file:///in')"),
    ("landing_url_is_short", "INSERT INTO otn.landing (url) VALUES ('')"),
    ("landing_failure_has_reason", "UPDATE otn.landing SET failed_at = now()"),
    ("landing_file_once", landed(name="'a.jsonl'")),
    ("landing_file_name_is_short", landed(name="repeat('x', 1025)")),
    ("landing_file_state_is_known", landed(state="'lost'", due_at="NULL")),
    ("landing_file_waits_for_a_time", landed(due_at="NULL")),
    ("landing_file_waits_for_a_time", landed(state="'taken'", taken_at="now()")),
    ("landing_file_taken_has_time", landed(state="'taken'", due_at="NULL")),
    ("landing_file_taken_has_time", landed(taken_at="now()")),
    ("landing_file_refused_has_reason", landed(state="'refused'", due_at="NULL")),
    ("landing_file_refused_has_reason", landed(state="'dismissed'", due_at="NULL")),
    ("landing_file_taken_has_no_error", landed(state="'taken'", due_at="NULL", taken_at="now()", error="'x'")),
    ("landing_file_digest_is_hash", landed(read_digest="'short'")),
    ("landing_file_position_has_digest", landed(read_bytes="1")),
    ("landing_file_counts", landed(size="-1")),
    ("landing_file_balances", landed(lines="2", imported="1")),
    ("landing_file_reasons_are_counts", landed(reasons="'[]'")),
    ("landing_refusal_line_is_number", "INSERT INTO otn.landing_refusal VALUES (1, 0, 'x')"),
    ("landing_refusal_has_reason", "INSERT INTO otn.landing_refusal VALUES (1, 2, '')"),
    # 0013: what goes out
    ("endpoint_key_once", endpoint(key="'crm'")),
    ("endpoint_key_is_short", endpoint(key="''")),
    ("endpoint_url_is_short", endpoint(url="repeat('x', 2001)")),
    ("endpoint_kinds_are_known", endpoint(kinds="ARRAY['everything']")),
    ("endpoint_kinds_are_known", endpoint(kinds="'{}'")),
    ("endpoint_rotation_is_whole", endpoint(secret_before="'sealed'")),
    ("endpoint_lease_is_whole", endpoint(lease="gen_random_uuid()")),
    ("endpoint_failure_is_whole", endpoint(tries="1", failed_since="now()")),
    ("endpoint_failure_is_whole", endpoint(failed_since="now()")),
    ("endpoint_counts", endpoint(missed="-1")),
    ("outgoing_event_id_once", outgoing_event(event_id="(SELECT event_id FROM otn.outgoing_event)")),
    ("outgoing_event_kind_is_known", outgoing_event(kind="'weather'")),
    ("outgoing_event_content_is_object", outgoing_event(content="'[]'")),
    ("outgoing_event_is_append_only", "UPDATE otn.outgoing_event SET content = '{}'"),
    ("notice_kind_is_known", "INSERT INTO otn.notice (campaign_id, kind) VALUES (1, 'halted')"),
    ("notice_told_is_settled", "UPDATE otn.notice SET told = 'x'"),
]

HOLDING: dict[str, dict[str, Any]] = {
    "waiting": {"state": "waiting"},
    "sending": {"state": "sending"},
    "sent": {"state": "sent"},
    "sent, inferred": {"state": "sent", "evidence": "'token_used_inferred'", "message_id": "NULL"},
    "unknown": {"state": "unknown"},
    "refused for the token": {"state": "refused", "token_dead": "true"},
}
GIVING_BACK: dict[str, dict[str, Any]] = {
    "refused for the person": {"state": "refused"},
    "skipped": {"state": "skipped"},
    "cancelled": {"state": "cancelled"},
    "sent, contested": {"state": "sent", "token_contested": "true"},
}
