-- Quarantine: what could not be used, with the reason, until it is replayed.

-- name: put!
-- The same item found unusable again is one item; its reason may have changed.
INSERT INTO otn.quarantine AS q (webhook_day, webhook_id, position, reason, item)
SELECT * FROM unnest(:days::date[], :ids::uuid[], :positions::text[], :reasons::text[], :items::bytea[])
ON CONFLICT (webhook_day, webhook_id, position) DO UPDATE SET reason = excluded.reason, replayed_at = NULL
WHERE q.reason <> excluded.reason OR q.replayed_at IS NOT NULL;

-- name: settle!
-- Items of webhooks that were read again, and that are usable now.
UPDATE otn.quarantine q SET replayed_at = clock_timestamp()
WHERE q.replayed_at IS NULL
  AND (q.webhook_day, q.webhook_id) IN (SELECT * FROM unnest(:days::date[], :ids::uuid[]))
  AND NOT EXISTS (
      SELECT FROM unnest(:bad_days::date[], :bad_ids::uuid[], :bad_positions::text[]) AS b (day, id, position)
      WHERE b.day = q.webhook_day AND b.id = q.webhook_id AND b.position = q.position);

-- name: count_waiting$
-- Of these webhooks, how many items wait: it must equal what their figures say.
SELECT count(*) FROM otn.quarantine q
WHERE q.replayed_at IS NULL AND (q.webhook_day, q.webhook_id) IN (SELECT * FROM unnest(:days::date[], :ids::uuid[]));

-- name: list_waiting
-- Newest first, without the items: they hold tokens and texts.
SELECT id, webhook_day, webhook_id::text, position, reason, created_at, octet_length(item) AS bytes FROM otn.quarantine
WHERE replayed_at IS NULL ORDER BY id DESC LIMIT :most;

-- name: count_reasons
-- What waits, by reason.
SELECT reason, count(*) AS items, min(created_at) AS oldest FROM otn.quarantine
WHERE replayed_at IS NULL GROUP BY reason ORDER BY items DESC, reason;

-- name: next_waiting
-- Without a lock: webhooks are locked first, then their items.
SELECT id, webhook_day, webhook_id::text FROM otn.quarantine
WHERE replayed_at IS NULL AND id > :after_id AND (:ids::bigint[] IS NULL OR id = ANY (:ids::bigint[]))
ORDER BY id LIMIT :most;

-- name: lock_items
-- Those that wait still, and that no other replay holds.
SELECT id, webhook_day, webhook_id::text, position, item FROM otn.quarantine
WHERE id = ANY (:ids::bigint[]) AND replayed_at IS NULL ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: mark_replayed!
-- In the transaction that stored what was in them.
UPDATE otn.quarantine SET replayed_at = clock_timestamp() WHERE id = ANY (:ids::bigint[]);

-- name: correct_reason!
-- Still unusable, but perhaps for another reason.
UPDATE otn.quarantine SET reason = :reason WHERE id = :id AND reason <> :reason;

-- name: next_items
-- Waiting or replayed, for an erasure: whom an item names is seen only after it was opened.
SELECT id, item FROM otn.quarantine WHERE id > :after_id ORDER BY id LIMIT :most;

-- name: lock_mentions
-- Those that were found, and those that came since. One that is just being replayed is left to its retention: a replay
-- waits for the erasure, and must not be waited for.
SELECT id, webhook_day, webhook_id::text, item, replayed_at IS NOT NULL AS replayed FROM otn.quarantine
WHERE id = ANY (:ids::bigint[]) OR id > :after_id ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: save_item!
-- Without the person who was erased.
UPDATE otn.quarantine SET item = :item WHERE id = :id;

-- name: delete_item!
-- It was used already; nothing counts it any more.
DELETE FROM otn.quarantine WHERE id = :id;
