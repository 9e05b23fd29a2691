-- What the demo compares with the platform's own account.

-- name: pending_webhooks$
-- Stored and not yet ingested.
SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL;

-- name: consents_to_card$
-- Opt-ins that are stored as the answer to one request card.
SELECT count(*) FROM otn.token k JOIN otn.window_message w ON w.id = k.card_id WHERE w.attempt_id = :attempt_id::uuid;

-- name: recipients
-- What the campaign says of each person.
SELECT s.psid, r.state::text, r.evidence::text, r.attempt_id::text, r.error_code, r.error_subcode, r.reason
FROM otn.recipient r JOIN otn.subscriber s ON s.id = r.subscriber_id WHERE r.campaign_id = :campaign_id;

-- name: intents
-- Every call that the campaign meant to make.
SELECT attempt_id::text FROM otn.attempt WHERE campaign_id = :campaign_id AND step = 'intent';

-- name: calls_after_settling$
-- Calls that were begun although an acceptance of an earlier one was recorded: there must be none.
SELECT count(*) FROM otn.attempt a
JOIN otn.attempt i ON (i.campaign_id, i.subscriber_id) = (a.campaign_id, a.subscriber_id) AND i.step = 'intent' AND i.at > a.at
WHERE a.campaign_id = :campaign_id AND a.step = 'answer' AND a.outcome = 'sent';
