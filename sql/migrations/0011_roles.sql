-- Roles in use: each of them gets what is written down here, table by table, and nothing by default.

-- A table that no line names is nobody's but the owner's. Called again by each `migrate`: what somebody granted to
-- otn_receiver or otn_sender by hand goes.
CREATE OR REPLACE FUNCTION otn.make_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    shown  text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['otn_reader', 'otn_receiver', 'otn_sender'] LOOP
        CONTINUE WHEN to_regrole(wanted) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'The role % does not exist and cannot be made by %. See docs/sql.md.', wanted, current_user;
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this server made it at the same moment
        END;
    END LOOP;

    IF to_regrole('otn_reader') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA otn TO otn_reader;
        -- Column by column, so that what a later version adds is hidden until somebody decides otherwise.
        FOREACH shown IN ARRAY ARRAY[
            'v_campaign', 'v_recipient', 'v_consent', 'page', 'topic', 'rule', 'ask', 'campaign', 'exclusion', 'pace', 'traffic',
            'campaign_run', 'alarm', 'calibration', 'epoch', 'landing_refusal', 'call_count', 'campaign_transition', 'window_transition', 'alembic_version',
            'webhook_event (received_day, received_at, ingested_at, events, ingested, duplicate, quarantined, redacted_at)',
            'quarantine (id, webhook_day, reason, created_at, replayed_at)',
            'subscriber (id, page_id, locale, utc_offset, labels, last_interaction_at, created_at, erased_at, profile_at, '
                'profile_error, profile_due_at)',
            'token (id, subscriber_id, topic_id, wiped_at, opted_in_at, expires_at, source, created_at, ref, card_id, scrubbed_at)',
            'suppression (id, subscriber_id, reason, since, topic_id)',
            'event (id, page_id, subscriber_id, kind, occurred_at, ref, topic_id, created_at)',
            'recipient (campaign_id, subscriber_id, token_id, chunk, state, unanswered, attempts, lease_until, not_before, evidence, '
                'error_code, error_subcode, retry_worth, token_dead, token_contested, reason, sent_at, delivered_at, read_at, '
                'updated_at, holds_token)',
            'attempt (campaign_id, subscriber_id, step, at, sender, outcome, http_status, error_code, error_subcode, reason)',
            'window_message (id, page_id, subscriber_id, cause, event_id, ask_id, rule_id, topic_id, ref, card, state, attempts, '
                'lease_until, not_before, not_after, evidence, error_code, error_subcode, reason, created_at, called_at, sent_at, '
                'tapped_at, updated_at)',
            'window_attempt (window_message_id, step, at, sender, outcome, http_status, error_code, error_subcode, reason)',
            'deletion_request (state, received_at, people, done_at, found)',
            'tombstone (erased_at)',
            'erasure_mark (walked, marked_at)',
            'audit (id, at, actor, action, page_id, campaign_id)',
            'landing (id, url, looked_at, failed_at)',
            'landing_file (id, landing_id, name, size, state, tries, due_at, read_bytes, read_lines, lines, imported, webhooks, '
                'duplicate, expired, refused, reasons, found_at, seen_at, taken_at)'
        ] LOOP
            EXECUTE CASE WHEN shown LIKE '%(%'
                THEN format('GRANT SELECT %s ON otn.%I TO otn_reader', substring(shown FROM '\(.*\)'), split_part(shown, ' ', 1))
                ELSE format('GRANT SELECT ON otn.%I TO otn_reader', shown) END;
        END LOOP;
        IF to_regclass('otn.silence') IS NOT NULL THEN -- made by 0012
            GRANT SELECT (reason, since, lifted) ON otn.silence TO otn_reader;
            GRANT SELECT (owed, walked_id) ON otn.silence_mark TO otn_reader;
        END IF;
    END IF;

    -- It stands in the open: what it stores it cannot read back.
    IF to_regrole('otn_receiver') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA otn TO otn_receiver;
        REVOKE ALL ON ALL TABLES IN SCHEMA otn FROM otn_receiver;
        GRANT SELECT (id, connection_id) ON otn.page TO otn_receiver;
        GRANT INSERT ON otn.webhook_event TO otn_receiver;
        GRANT INSERT (id, code, user_id, user_hash) ON otn.deletion_request TO otn_receiver;
        GRANT SELECT (code, user_hash, state, people, received_at, done_at) ON otn.deletion_request TO otn_receiver;
    END IF;

    -- Tasks but that of otn_purge, and the responder. It makes and alters no table, registers no page and no rule, and
    -- takes no people, tokens, campaigns or anything that was written down about them away.
    IF to_regrole('otn_sender') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA otn TO otn_sender;
        REVOKE ALL ON ALL TABLES IN SCHEMA otn FROM otn_sender;
        GRANT SELECT ON otn.alembic_version, otn.campaign_transition, otn.window_transition, otn.calibration, otn.rule,
            otn.v_campaign, otn.v_recipient, otn.v_consent TO otn_sender;
        GRANT UPDATE (created_at) ON otn.rule TO otn_sender; -- an answer locks its rule, and a lock wants this right
        GRANT SELECT, INSERT ON otn.audit, otn.exclusion, otn.tombstone, otn.topic TO otn_sender;
        GRANT SELECT, UPDATE ON otn.page, otn.deletion_request, otn.epoch TO otn_sender;
        GRANT SELECT, INSERT, UPDATE ON otn.subscriber, otn.token, otn.campaign, otn.campaign_run, otn.recipient, otn.attempt,
            otn.ask, otn.window_message, otn.window_attempt, otn.pace, otn.erasure_mark, otn.webhook_event,
            otn.landing, otn.landing_file TO otn_sender;
        GRANT SELECT, INSERT, DELETE ON otn.event TO otn_sender;
        GRANT SELECT, INSERT, UPDATE, DELETE ON otn.suppression, otn.alarm, otn.traffic, otn.quarantine, otn.landing_refusal,
            otn.call_count TO otn_sender;
        IF to_regclass('otn.silence') IS NOT NULL THEN -- made by 0012
            GRANT SELECT, UPDATE ON otn.silence_mark TO otn_sender;
            GRANT SELECT, INSERT, UPDATE, DELETE ON otn.silence TO otn_sender;
        END IF;
    END IF;
END $$;
SELECT otn.make_roles();

-- The version that code must know at least to run on this schema. Senders ask when they meet a schema that is newer than
-- they are: while a new version is rolled out, the one before it goes on.
CREATE FUNCTION otn.oldest_code() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '0007' $$;
