-- Purge: what has served its purpose goes, in small transactions that nobody waits for.

-- name: lock_expired_tokens
-- The lock conflicts with a plan that is just reserving the token; such a token is left for the next purge.
SELECT id FROM otn.token
WHERE token_encrypted IS NOT NULL AND expires_at <= clock_timestamp() AND id > :after_id
ORDER BY id LIMIT :most
FOR UPDATE SKIP LOCKED;

-- name: wipe_tokens!
-- A statement of its own after the lock, so that it sees what was committed meanwhile. Whoever is not finished may
-- still ask the platform about this very token.
UPDATE otn.token t SET token_encrypted = NULL, wiped_at = clock_timestamp()
WHERE t.id = ANY (:ids::bigint[])
  AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = t.id AND r.state IN ('waiting', 'sending', 'unknown'));

-- name: raw_partitions
-- Of days past retention; the name carries the day (see otn.make_webhook_partitions).
SELECT name, to_date(right(name, 8), 'YYYYMMDD') AS day
FROM (SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = 'otn.webhook_event'::regclass AND c.relname ~ '^webhook_event_[0-9]{8}$') p
WHERE to_date(right(name, 8), 'YYYYMMDD') < (clock_timestamp() AT TIME ZONE 'UTC')::date - :keep_days::integer
ORDER BY day;

-- name: limit_waiting!
-- A lock that cannot be had soon is given up: behind it every receipt would wait.
SELECT set_config('lock_timeout', '1s', true);

-- name: lock_raw!
-- The parent first, as DROP does it itself: two purges wait for each other here.
LOCK TABLE ONLY otn.webhook_event IN ACCESS EXCLUSIVE MODE;

-- name: partition_exists$
-- Another purge may have been faster.
SELECT to_regclass('otn.' || quote_ident(:name)) IS NOT NULL;

-- name: count_pending_of_day$
-- By the index of what is pending.
SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL AND received_day = :day::date;

-- name: delete_raw_of_default!
-- Days for which no partition was made in time.
DELETE FROM otn.webhook_event_default d
USING (SELECT received_day, id FROM otn.webhook_event_default
       WHERE received_day < (clock_timestamp() AT TIME ZONE 'UTC')::date - :keep_days::integer AND ingested_at IS NOT NULL
       ORDER BY received_day, id LIMIT :most FOR UPDATE SKIP LOCKED) old
WHERE d.received_day = old.received_day AND d.id = old.id;

-- name: pending_past_retention
-- Raw webhooks that should be gone, but were never ingested.
SELECT received_day AS day, count(*) AS pending FROM otn.webhook_event
WHERE ingested_at IS NULL AND received_day < (clock_timestamp() AT TIME ZONE 'UTC')::date - :keep_days::integer
GROUP BY received_day ORDER BY received_day;

-- name: make_partitions$
-- Ahead of time, so that no receipt ever waits for DDL.
SELECT otn.make_webhook_partitions((clock_timestamp() AT TIME ZONE 'UTC')::date, :days);

-- name: delete_events!
-- What reports need stands on the recipients. Those with an unknown end may yet be settled by what was said of them:
-- their events stay, for the year in which their token may be asked about.
DELETE FROM otn.event e
USING (SELECT o.id FROM otn.event o
       WHERE o.created_at < clock_timestamp() - make_interval(days => :keep_days)
         AND NOT EXISTS (SELECT FROM otn.recipient r
                         WHERE r.subscriber_id = o.subscriber_id AND r.state IN ('sending', 'unknown')
                           AND r.updated_at > clock_timestamp() - interval '1 year')
       ORDER BY o.created_at LIMIT :most FOR UPDATE SKIP LOCKED) old
WHERE e.id = old.id;

-- name: delete_quarantine!
-- Replayed items go with the raw webhooks; the others when no token in them can be good any more.
DELETE FROM otn.quarantine q
USING (SELECT id FROM otn.quarantine
       WHERE replayed_at < clock_timestamp() - make_interval(days => :keep_replayed_days)
          OR created_at < clock_timestamp() - make_interval(days => :keep_days)
       ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED) old
WHERE q.id = old.id;

-- name: forget_texts!
-- Of answers and request cards: what became of them stays, not what they said.
UPDATE otn.window_message w SET message = NULL, updated_at = clock_timestamp()
FROM (SELECT id FROM otn.window_message
      WHERE message IS NOT NULL AND state NOT IN ('waiting', 'sending')
        AND created_at < clock_timestamp() - make_interval(days => :keep_days)
      ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED) old
WHERE w.id = old.id;

-- name: days_to_redact
-- Days that still have bodies with words in them; each day is asked by its key, which stops at the first.
SELECT d.day FROM (
    SELECT generate_series(min(received_day), (clock_timestamp() AT TIME ZONE 'UTC')::date - :keep_days::integer, interval '1 day')::date AS day
    FROM otn.webhook_event) d
WHERE EXISTS (SELECT FROM otn.webhook_event w
              WHERE w.received_day = d.day AND w.redacted_at IS NULL AND w.ingested_at IS NOT NULL)
ORDER BY d.day;

-- name: take_unredacted
-- The slice ends where its bodies grow too large, but has one row at least. What an ingest holds is left to the next purge.
WITH locked AS MATERIALIZED (
    SELECT w.id, w.body FROM otn.webhook_event w
    WHERE w.received_day = :day::date AND w.id > :after_id::uuid AND w.redacted_at IS NULL AND w.ingested_at IS NOT NULL
      AND w.received_at < clock_timestamp() - make_interval(days => :keep_days)
    ORDER BY w.id LIMIT :most
    FOR UPDATE SKIP LOCKED
), sized AS (
    SELECT locked.*, sum(octet_length(body)) OVER (ORDER BY id) AS bytes FROM locked
)
SELECT id::text, body FROM sized WHERE bytes <= :most_bytes OR bytes = octet_length(body) ORDER BY sized.id;

-- name: mark_redacted!
-- Also those that had no words: nobody needs to open them again.
UPDATE otn.webhook_event w SET redacted_at = clock_timestamp()
WHERE w.received_day = :day::date AND w.id = ANY (:ids::uuid[]) AND w.ingested_at IS NOT NULL;

-- name: delete_proofs!
-- A consent is proven for as long as anybody may ask for it; no campaign refers to these.
DELETE FROM otn.token t
USING (SELECT o.id FROM otn.token o
       WHERE o.expires_at < clock_timestamp() - make_interval(days => :keep_days)
         AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = o.id)
       ORDER BY o.id LIMIT :most FOR UPDATE SKIP LOCKED) old
WHERE t.id = old.id;

-- name: scrub_proofs!
-- Figures of campaigns rest on these: only their times stay. A row in doubt keeps its token.
UPDATE otn.token t SET token_encrypted = NULL, wiped_at = coalesce(wiped_at, clock_timestamp()), ref = NULL,
       token_hash = sha256(decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')),
       scrubbed_at = clock_timestamp()
FROM (SELECT o.id FROM otn.token o
      WHERE o.expires_at < clock_timestamp() - make_interval(days => :keep_days) AND o.scrubbed_at IS NULL
        AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = o.id AND r.state IN ('waiting', 'sending', 'unknown'))
      ORDER BY o.id LIMIT :most FOR UPDATE SKIP LOCKED) old
WHERE t.id = old.id;

-- name: delete_requests!
-- That somebody asked to be deleted is itself kept no longer than a consent.
DELETE FROM otn.deletion_request d
USING (SELECT id FROM otn.deletion_request
       WHERE state = 'done' AND done_at < clock_timestamp() - make_interval(days => :keep_days)
       ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED) old
WHERE d.id = old.id;

-- name: delete_people!
-- Nobody has heard of them for so long, and nothing refers to them; an objection is kept for good.
DELETE FROM otn.subscriber s
USING (SELECT o.id FROM otn.subscriber o
       WHERE greatest(o.created_at, o.last_interaction_at, o.erased_at) < clock_timestamp() - make_interval(days => :keep_days)
         AND NOT EXISTS (SELECT FROM otn.token t WHERE t.subscriber_id = o.id)
         AND NOT EXISTS (SELECT FROM otn.event e WHERE e.subscriber_id = o.id)
         AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.subscriber_id = o.id)
         AND NOT EXISTS (SELECT FROM otn.exclusion x WHERE x.subscriber_id = o.id)
         AND NOT EXISTS (SELECT FROM otn.window_message w WHERE w.subscriber_id = o.id)
         AND NOT EXISTS (SELECT FROM otn.suppression p WHERE p.subscriber_id = o.id)
       ORDER BY o.id LIMIT :most FOR UPDATE SKIP LOCKED) old
WHERE s.id = old.id;
