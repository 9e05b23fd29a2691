-- Raw webhooks: taken in slices, under a lock, and marked with what became of them.

-- name: walk_by_index!
-- Statistics of a queue are always of yesterday, and a plan made from them may read a whole day for each slice. Until
-- the next word: few rows, found by their keys, in the order of the index.
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true);

-- name: walk_freely!
-- As the server is set up.
SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT;
SET LOCAL enable_bitmapscan TO DEFAULT; SET LOCAL enable_sort TO DEFAULT;

-- name: take_pending
-- Everything that is not ingested, whatever its time: commit order is not time order. A row that another ingest holds
-- is left to it. The slice ends where its bodies grow too large, but has one row at least.
WITH locked AS MATERIALIZED (
    SELECT w.received_day, w.id, w.body FROM otn.webhook_event w
    WHERE w.ingested_at IS NULL AND w.received_day >= :after_day::date
      AND (w.received_day, w.id) > (:after_day::date, :after_id::uuid)
    ORDER BY w.received_day, w.id LIMIT :most
    FOR UPDATE SKIP LOCKED
), sized AS (
    SELECT locked.*, sum(octet_length(body)) OVER (ORDER BY received_day, id) AS bytes FROM locked
)
SELECT received_day, id::text, body, false AS seen, 0 AS events, 0 AS ingested, 0 AS duplicate, 0 AS quarantined
FROM sized WHERE bytes <= :most_bytes OR bytes = octet_length(body)
ORDER BY sized.received_day, sized.id;

-- name: take_day
-- A day again, ingested or not. Here the row of another run is waited for: its figures are needed.
WITH locked AS MATERIALIZED (
    SELECT w.* FROM otn.webhook_event w
    WHERE w.received_day = :day::date AND w.id > :after_id::uuid
    ORDER BY w.received_day, w.id LIMIT :most
    FOR UPDATE
), sized AS (
    SELECT locked.*, sum(octet_length(body)) OVER (ORDER BY id) AS bytes FROM locked
)
SELECT received_day, id::text, body, ingested_at IS NOT NULL AS seen, coalesce(events, 0) AS events,
       coalesce(ingested, 0) AS ingested, coalesce(duplicate, 0) AS duplicate, coalesce(quarantined, 0) AS quarantined
FROM sized WHERE bytes <= :most_bytes OR bytes = octet_length(body)
ORDER BY sized.id;

-- name: lock_webhooks
-- What quarantined items came from, as far as it is still kept; always locked before the items.
SELECT w.received_day, w.id::text, w.events, w.ingested, w.duplicate, w.quarantined
FROM otn.webhook_event w
WHERE w.received_day = ANY (:days::date[]) AND w.id = ANY (:ids::uuid[]) AND w.ingested_at IS NOT NULL
ORDER BY w.received_day, w.id FOR UPDATE;

-- name: mark_ingested!
-- In the transaction that stored the events. The day is a constant, so that one partition is looked at.
UPDATE otn.webhook_event w SET ingested_at = coalesce(w.ingested_at, clock_timestamp()),
       events = u.events, ingested = u.ingested, duplicate = u.duplicate, quarantined = u.quarantined
FROM unnest(:ids::uuid[], :events::integer[], :ingested::integer[], :duplicate::integer[], :quarantined::integer[])
     AS u (id, events, ingested, duplicate, quarantined)
WHERE w.received_day = :day::date AND w.id = u.id;

-- name: take_one^
-- One webhook alone, after its slice has failed; on its own it may wait for whoever holds it.
SELECT w.received_day, w.id::text, w.body, w.ingested_at IS NOT NULL AS seen, coalesce(w.events, 0) AS events,
       coalesce(w.ingested, 0) AS ingested, coalesce(w.duplicate, 0) AS duplicate, coalesce(w.quarantined, 0) AS quarantined
FROM otn.webhook_event w
WHERE w.received_day = :day::date AND w.id = :id::uuid AND (:again OR w.ingested_at IS NULL)
FOR UPDATE;
