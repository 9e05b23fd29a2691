-- For SQL users: two more views, three roles. And how the platform answers for tokens that are no good.

-- ───────────────────────────────────────────────────────────────── calibration

-- What `./otn calibrate` saw, one row a kind of dead token: from then on the clients of the page recognise it.
-- Another version of the API may answer otherwise, and is learnt anew.
CREATE TABLE otn.calibration (
    page_id        integer NOT NULL REFERENCES otn.page,
    api_version    text NOT NULL,
    fate           text NOT NULL,
    code           integer NOT NULL,
    subcode        integer,                                               -- null: none came
    pattern        text NOT NULL,                                         -- regular expression; tokens and ids are taken out
    campaign_id    bigint NOT NULL REFERENCES otn.campaign,               -- that spent the token which was asked about
    learned_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT calibration_once PRIMARY KEY (page_id, api_version, fate),
    CONSTRAINT calibration_fate_is_known CHECK (fate IN ('used', 'invalid', 'expired')),
    CONSTRAINT calibration_version_is_named CHECK (api_version <> ''),
    CONSTRAINT calibration_pattern_is_something CHECK (pattern <> '')
);
-- One answer cannot mean two things.
CREATE UNIQUE INDEX calibration_tells_apart ON otn.calibration (page_id, api_version, code, coalesce(subcode, -1), md5(pattern));

-- ───────────────────────────────────────────────────────────────── views

-- The figures of `./otn report`, campaign by campaign. What is not selected is not counted: each LEFT JOIN gives one row.
CREATE VIEW otn.v_campaign AS
SELECT c.id AS campaign_id, c.key AS campaign, p.connection_id AS page, t.key AS topic, c.state::text AS state,
       f.planned + x.people AS audience, x.reasons AS excluded, f.planned, f.waiting, f.sending, f.sent, f.sent_inferred,
       f.refused, f.unknown, f.cancelled, s.reasons AS skipped, f.delivered, f.read, e.errors, u.reasons AS unknown_reasons,
       f.tokens_spent, a.people AS spent_elsewhere,
       coalesce(c.halt_reason, CASE WHEN c.state NOT IN ('finished', 'cancelled') THEN p.halt_reason END) AS halt_reason,
       c.max_refused::double precision AS max_refused, c.needs_approval, c.created_by, c.created_at, c.approved_by,
       c.approved_at, c.send_at, c.started_at, c.finished_at
FROM otn.campaign c
JOIN otn.page p ON p.id = c.page_id
JOIN otn.topic t ON t.id = c.topic_id
LEFT JOIN LATERAL (
    SELECT count(*) AS planned,
           count(*) FILTER (WHERE r.state = 'waiting') AS waiting,
           count(*) FILTER (WHERE r.state = 'sending') AS sending,
           count(*) FILTER (WHERE r.state = 'sent') AS sent,
           count(*) FILTER (WHERE r.evidence = 'token_used_inferred') AS sent_inferred,
           count(*) FILTER (WHERE r.state = 'refused') AS refused,
           count(*) FILTER (WHERE r.state = 'unknown') AS unknown,
           count(*) FILTER (WHERE r.state = 'cancelled') AS cancelled,
           count(r.delivered_at) AS delivered,
           count(r.read_at) AS read,
           count(*) FILTER (WHERE r.state = 'sent' OR (r.state = 'refused' AND r.token_dead)) AS tokens_spent
    FROM otn.recipient r WHERE r.campaign_id = c.id) AS f ON true
LEFT JOIN LATERAL (
    SELECT coalesce(sum(g.people), 0)::bigint AS people, coalesce(jsonb_object_agg(g.reason, g.people), '{}') AS reasons
    FROM (SELECT o.reason, count(*) AS people FROM otn.exclusion o WHERE o.campaign_id = c.id GROUP BY 1) AS g) AS x ON true
LEFT JOIN LATERAL (
    SELECT coalesce(jsonb_object_agg(g.reason, g.people), '{}') AS reasons
    FROM (SELECT r.reason, count(*) AS people FROM otn.recipient r
          WHERE r.campaign_id = c.id AND r.state = 'skipped' GROUP BY 1) AS g) AS s ON true
LEFT JOIN LATERAL (
    SELECT coalesce(jsonb_object_agg(g.error, g.people), '{}') AS errors
    FROM (SELECT concat_ws('/', r.error_code, r.error_subcode) AS error, count(*) AS people FROM otn.recipient r
          WHERE r.campaign_id = c.id AND r.state = 'refused' GROUP BY 1) AS g) AS e ON true
LEFT JOIN LATERAL (
    SELECT coalesce(jsonb_object_agg(g.reason, g.people), '{}') AS reasons
    FROM (SELECT r.reason, count(*) AS people FROM otn.recipient r
          WHERE r.campaign_id = c.id AND r.state = 'unknown' GROUP BY 1) AS g) AS u ON true
LEFT JOIN LATERAL (
    SELECT coalesce(sum((d.detail ->> 'people')::bigint), 0)::bigint AS people
    FROM otn.audit d WHERE d.campaign_id = c.id AND d.action = 'token_spent_elsewhere') AS a ON true;

COMMENT ON VIEW otn.v_campaign IS 'One row per campaign, with the figures of its report. Part of the contract for SQL users.';
COMMENT ON COLUMN otn.v_campaign.campaign_id IS 'Our number of the campaign (otn.campaign.id).';
COMMENT ON COLUMN otn.v_campaign.campaign IS 'Its key, unique per page.';
COMMENT ON COLUMN otn.v_campaign.page IS 'Connection of the page.';
COMMENT ON COLUMN otn.v_campaign.topic IS 'Key of the topic.';
COMMENT ON COLUMN otn.v_campaign.state IS 'draft, awaiting_approval, scheduled, sending, paused, halted, interrupted, finished, cancelled.';
COMMENT ON COLUMN otn.v_campaign.audience IS 'Everyone who had ever held a token of the topic when it was planned: planned and excluded. 0 before that.';
COMMENT ON COLUMN otn.v_campaign.excluded IS 'People left out of the plan: reason → how many.';
COMMENT ON COLUMN otn.v_campaign.planned IS 'Recipients: waiting, sending, sent, refused, unknown, cancelled and skipped together.';
COMMENT ON COLUMN otn.v_campaign.waiting IS 'To be called; nothing in doubt.';
COMMENT ON COLUMN otn.v_campaign.sending IS 'In a call.';
COMMENT ON COLUMN otn.v_campaign.sent IS 'The platform said so, its echo proves it, or it is inferred.';
COMMENT ON COLUMN otn.v_campaign.sent_inferred IS 'Of the sent: the token was refused as used after a call without an answer.';
COMMENT ON COLUMN otn.v_campaign.refused IS 'The platform said no to the person or the token.';
COMMENT ON COLUMN otn.v_campaign.unknown IS 'Called, and no clear answer came.';
COMMENT ON COLUMN otn.v_campaign.cancelled IS 'Not called: the campaign was given up.';
COMMENT ON COLUMN otn.v_campaign.skipped IS 'Planned and not called: reason → how many.';
COMMENT ON COLUMN otn.v_campaign.delivered IS 'Of the sent: the platform reported the delivery.';
COMMENT ON COLUMN otn.v_campaign.read IS 'Of the sent: the person has read it.';
COMMENT ON COLUMN otn.v_campaign.errors IS 'What the platform refused, code or code/subcode → how many.';
COMMENT ON COLUMN otn.v_campaign.unknown_reasons IS 'Why rows are unknown: reason → how many.';
COMMENT ON COLUMN otn.v_campaign.tokens_spent IS 'Consents that are used up by it: sent, or refused for the token itself.';
COMMENT ON COLUMN otn.v_campaign.spent_elsewhere IS 'First calls that met a token which somebody else had spent: an alarm.';
COMMENT ON COLUMN otn.v_campaign.halt_reason IS 'Why nothing is sent: of the campaign, or of its page while the campaign is not over.';
COMMENT ON COLUMN otn.v_campaign.max_refused IS 'Share of refusals, 0 to 1, above which it halts.';
COMMENT ON COLUMN otn.v_campaign.needs_approval IS 'Whether a person must say yes.';
COMMENT ON COLUMN otn.v_campaign.created_by IS 'Who triggered it first.';
COMMENT ON COLUMN otn.v_campaign.created_at IS 'When it was written down.';
COMMENT ON COLUMN otn.v_campaign.approved_by IS 'Who said yes.';
COMMENT ON COLUMN otn.v_campaign.approved_at IS 'When.';
COMMENT ON COLUMN otn.v_campaign.send_at IS 'Not before; null: at once.';
COMMENT ON COLUMN otn.v_campaign.started_at IS 'When its plan was made.';
COMMENT ON COLUMN otn.v_campaign.finished_at IS 'When it was finished or cancelled.';

CREATE VIEW otn.v_recipient AS
SELECT r.campaign_id, c.key AS campaign, p.connection_id AS page, t.key AS topic, r.subscriber_id, r.token_id AS consent_id,
       k.ref, k.opted_in_at, r.chunk, r.state::text AS state, r.evidence::text AS evidence, r.reason, r.error_code,
       r.error_subcode, r.retry_worth, r.attempts, r.unanswered,
       r.state = 'sent' OR (r.state = 'refused' AND r.token_dead) AS token_spent,
       r.sent_at, r.delivered_at, r.read_at, r.updated_at
FROM otn.recipient r
JOIN otn.campaign c ON c.id = r.campaign_id
JOIN otn.page p ON p.id = c.page_id
JOIN otn.topic t ON t.id = c.topic_id
JOIN otn.token k ON k.id = r.token_id;

COMMENT ON VIEW otn.v_recipient IS 'One row per campaign and person that it planned. Part of the contract for SQL users.';
COMMENT ON COLUMN otn.v_recipient.campaign_id IS 'Our number of the campaign.';
COMMENT ON COLUMN otn.v_recipient.campaign IS 'Key of the campaign.';
COMMENT ON COLUMN otn.v_recipient.page IS 'Connection of the page.';
COMMENT ON COLUMN otn.v_recipient.topic IS 'Key of the topic.';
COMMENT ON COLUMN otn.v_recipient.subscriber_id IS 'Our number of the person. After an erasure it leads to nobody.';
COMMENT ON COLUMN otn.v_recipient.consent_id IS 'The consent that is spent, or would be (otn.v_consent).';
COMMENT ON COLUMN otn.v_recipient.ref IS 'What that consent is about beyond the topic: a product, a show.';
COMMENT ON COLUMN otn.v_recipient.opted_in_at IS 'When it was given.';
COMMENT ON COLUMN otn.v_recipient.chunk IS 'The slice that one task sends to; 0 is the canary.';
COMMENT ON COLUMN otn.v_recipient.state IS 'waiting, sending, sent, refused, unknown, skipped, cancelled.';
COMMENT ON COLUMN otn.v_recipient.evidence IS 'Of a sent row: answer, echo, or token_used_inferred.';
COMMENT ON COLUMN otn.v_recipient.reason IS 'Why skipped, unknown, or back to waiting.';
COMMENT ON COLUMN otn.v_recipient.error_code IS 'The platform''s code, of a refusal or of the last answer.';
COMMENT ON COLUMN otn.v_recipient.error_subcode IS 'Its subcode.';
COMMENT ON COLUMN otn.v_recipient.retry_worth IS 'Refused, and a later try may succeed (otn_retry, scope refused).';
COMMENT ON COLUMN otn.v_recipient.attempts IS 'Calls so far.';
COMMENT ON COLUMN otn.v_recipient.unanswered IS 'Calls whose end nobody knows.';
COMMENT ON COLUMN otn.v_recipient.token_spent IS 'Whether the consent is used up: sent, or refused for the token itself.';
COMMENT ON COLUMN otn.v_recipient.sent_at IS 'When it was sent, as far as known.';
COMMENT ON COLUMN otn.v_recipient.delivered_at IS 'When the platform reported the delivery.';
COMMENT ON COLUMN otn.v_recipient.read_at IS 'When the person had read it.';
COMMENT ON COLUMN otn.v_recipient.updated_at IS 'When the state changed last.';

-- ───────────────────────────────────────────────────────────────── roles

-- Roles belong to the whole server, and not every owner of a database may make them. Whoever may makes them beforehand,
-- and the owner calls this again: it may be called at any time.
CREATE FUNCTION otn.make_roles() RETURNS void LANGUAGE plpgsql AS $$
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
            'campaign_run', 'alarm', 'calibration', 'campaign_transition', 'window_transition', 'alembic_version',
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
            'audit (id, at, actor, action, page_id, campaign_id)'
        ] LOOP
            EXECUTE CASE WHEN shown LIKE '%(%'
                THEN format('GRANT SELECT %s ON otn.%I TO otn_reader', substring(shown FROM '\(.*\)'), split_part(shown, ' ', 1))
                ELSE format('GRANT SELECT ON otn.%I TO otn_reader', shown) END;
        END LOOP;
    END IF;

    -- It stands in the open: what it stores it cannot read back.
    IF to_regrole('otn_receiver') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA otn TO otn_receiver;
        GRANT SELECT (id, connection_id) ON otn.page TO otn_receiver;
        GRANT INSERT ON otn.webhook_event TO otn_receiver;
        GRANT INSERT (id, code, user_id, user_hash) ON otn.deletion_request TO otn_receiver;
        GRANT SELECT (code, user_hash, state, people, received_at, done_at) ON otn.deletion_request TO otn_receiver;
    END IF;

    -- Every task but those of otn_purge, and the responder. It makes and alters no table, and takes no people, tokens,
    -- campaigns or anything that was written down about them away.
    IF to_regrole('otn_sender') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA otn TO otn_sender;
        GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA otn TO otn_sender;
        REVOKE INSERT, UPDATE ON otn.alembic_version, otn.campaign_transition, otn.window_transition, otn.calibration,
            otn.v_campaign, otn.v_recipient, otn.v_consent FROM otn_sender;
        REVOKE UPDATE ON otn.audit, otn.tombstone FROM otn_sender;
        GRANT DELETE ON otn.event, otn.suppression, otn.alarm, otn.traffic, otn.quarantine TO otn_sender;
    END IF;
END $$;
SELECT otn.make_roles();
