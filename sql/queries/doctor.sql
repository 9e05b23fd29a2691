-- Doctor: how the database is, asked without changing anything.

-- name: server()^
-- Version and clock; a clock far from ours puts webhooks into the wrong day.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number,
       extract(epoch FROM clock_timestamp())::double precision AS clock, pg_is_in_recovery() AS standby;

-- name: partitions()^
-- How many days from today on have a partition of their own, without a gap.
SELECT count(*) AS ahead FROM generate_series(0, 30) AS day
WHERE NOT EXISTS (
    SELECT FROM generate_series(0, day) AS earlier
    WHERE to_regclass('otn.webhook_event_' || to_char((clock_timestamp() AT TIME ZONE 'UTC')::date + earlier, 'YYYYMMDD')) IS NULL);

-- name: backlog()^
-- Webhooks that nobody has ingested, and what could not be read.
SELECT (SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL) AS waiting,
       (SELECT extract(epoch FROM clock_timestamp() - min(received_at))::bigint FROM otn.webhook_event WHERE ingested_at IS NULL) AS oldest_s,
       (SELECT count(*) FROM otn.quarantine WHERE replayed_at IS NULL) AS quarantined;

-- name: newest_token()$
-- Something encrypted: if it cannot be read, the keys are not those of these data.
SELECT token_encrypted FROM otn.token WHERE token_encrypted IS NOT NULL ORDER BY id DESC LIMIT 1;

-- name: stopped()
-- Campaigns that wait for a person.
SELECT c.key, p.connection_id AS page, c.state::text, c.halt_reason
FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
WHERE c.state IN ('halted', 'interrupted') ORDER BY c.id;

-- name: unregistered_topics()$
-- Payloads that people opted in to and nobody has registered.
SELECT count(*) FROM otn.topic WHERE registered_at IS NULL;
