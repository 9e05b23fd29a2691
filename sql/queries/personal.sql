-- Personal: everything that is held about one person, for the person.

-- name: profile^
-- As the platform gave it, and what was added here.
SELECT id AS subscriber_id, psid, first_name, last_name, locale, utc_offset::float8 AS utc_offset, labels, attributes,
       last_interaction_at, created_at, profile_at, profile_error
FROM otn.subscriber WHERE id = :id;

-- name: consents
-- Each Notify Me, without the text of the token.
SELECT t.id AS token_id, o.key AS topic, o.title, t.ref, t.opted_in_at, t.expires_at, t.source, t.wiped_at,
       w.sent_at AS asked_at
FROM otn.token t JOIN otn.topic o ON o.id = t.topic_id LEFT JOIN otn.window_message w ON w.id = t.card_id
WHERE t.subscriber_id = :id ORDER BY t.opted_in_at, t.id;

-- name: campaigns
-- What was sent for which consent, and what became of it.
SELECT c.key AS campaign, r.state::text, r.evidence::text, r.reason, r.token_id, r.attempts, r.message_id, r.error_code,
       r.error_subcode, r.sent_at, r.delivered_at, r.read_at, r.variables, c.message AS template
FROM otn.recipient r JOIN otn.campaign c ON c.id = r.campaign_id
WHERE r.subscriber_id = :id ORDER BY r.campaign_id;

-- name: left_out
-- Campaigns that left the person out, and why.
SELECT c.key AS campaign, x.reason, c.planned_at FROM otn.exclusion x JOIN otn.campaign c ON c.id = x.campaign_id
WHERE x.subscriber_id = :id ORDER BY x.campaign_id;

-- name: window_messages
-- Request cards and answers, with the rule that answered; texts as long as they are kept.
SELECT w.cause::text, r.key AS rule, o.key AS topic, w.ref, w.card, w.message, w.state::text, w.reason, w.message_id,
       w.error_code, w.created_at, w.sent_at, w.tapped_at
FROM otn.window_message w LEFT JOIN otn.rule r ON r.id = w.rule_id LEFT JOIN otn.topic o ON o.id = w.topic_id
WHERE w.subscriber_id = :id ORDER BY w.id;

-- name: silences
-- By whose word nothing is sent, and of what.
SELECT s.reason, o.key AS topic, s.since, s.actor, s.note
FROM otn.suppression s LEFT JOIN otn.topic o ON o.id = s.topic_id WHERE s.subscriber_id = :id ORDER BY s.since, s.id;

-- name: events
-- What the platform told about the person.
SELECT kind::text, occurred_at, mid, mids, watermark, metadata, payload, ref, detail, created_at
FROM otn.event WHERE subscriber_id = :id ORDER BY occurred_at, id;

-- name: bodies
-- Raw webhooks that the person's events came with, as far as they are still kept.
SELECT received_at, body FROM otn.webhook_event
WHERE received_day = ANY (:days::date[]) AND (received_day, id) IN (SELECT * FROM unnest(:days::date[], :ids::uuid[]))
ORDER BY received_at, id;
