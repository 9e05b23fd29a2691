-- Reports: figures of one campaign, and one row per recipient.

-- name: figures^
-- Everything that adds up, in one scan of the campaign's rows.
SELECT count(*) AS planned,
       count(*) FILTER (WHERE state = 'waiting') AS waiting,
       count(*) FILTER (WHERE state = 'sending') AS sending,
       count(*) FILTER (WHERE state = 'sent') AS sent,
       count(*) FILTER (WHERE evidence = 'token_used_inferred') AS sent_inferred,
       count(*) FILTER (WHERE state = 'refused') AS refused,
       count(*) FILTER (WHERE state = 'unknown') AS unknown,
       count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
       count(delivered_at) AS delivered,
       count(read_at) AS read,
       count(*) FILTER (WHERE state = 'sent' OR (state = 'refused' AND token_dead)) AS tokens_spent
FROM otn.recipient WHERE campaign_id = :campaign_id;

-- name: skipped
-- Planned, but not called, by reason.
SELECT reason, count(*) AS people FROM otn.recipient
WHERE campaign_id = :campaign_id AND state = 'skipped' GROUP BY reason ORDER BY reason;

-- name: excluded
-- Left out at planning, by reason.
SELECT reason, count(*) AS people FROM otn.exclusion WHERE campaign_id = :campaign_id GROUP BY reason ORDER BY reason;

-- name: errors
-- What the platform refused, in its own numbers.
SELECT error_code || CASE WHEN error_subcode IS NULL THEN '' ELSE '/' || error_subcode END AS error, count(*) AS people
FROM otn.recipient WHERE campaign_id = :campaign_id AND state = 'refused' GROUP BY 1 ORDER BY 2 DESC, 1;

-- name: unknown_reasons
-- Why rows are in doubt.
SELECT reason, count(*) AS people FROM otn.recipient WHERE campaign_id = :campaign_id AND state = 'unknown' GROUP BY 1 ORDER BY 1;

-- name: spent_elsewhere$
-- First attempts that met a token which somebody else had used: an alarm.
SELECT coalesce(sum((detail ->> 'people')::bigint), 0)::bigint FROM otn.audit
WHERE campaign_id = :campaign_id AND action = 'token_spent_elsewhere';

-- name: export_rows
-- One row per recipient, walked by key so that a million rows need no sorting in memory.
SELECT r.subscriber_id, s.psid, r.state::text, r.evidence::text, r.message_id, r.error_code, r.error_subcode, r.reason,
       r.attempts, r.unanswered, r.chunk, t.opted_in_at, r.sent_at, r.delivered_at, r.read_at, r.updated_at
FROM otn.recipient r
JOIN otn.subscriber s ON s.id = r.subscriber_id
JOIN otn.token t ON t.id = r.token_id
WHERE r.campaign_id = :campaign_id AND r.subscriber_id > :after
ORDER BY r.subscriber_id LIMIT :most;
