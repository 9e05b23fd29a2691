-- name: page_connections()
-- Which connections speak for registered pages: their secrets are the ones that may sign.
SELECT connection_id FROM otn.page ORDER BY id;

-- name: store_webhooks(days, ids, ages, bodies)!
-- Day and id were given at receipt, so that an INSERT whose answer was lost can be repeated without a second row. The
-- order is that of the keys: two that offer the same rows wait for each other instead of locking each other out. The
-- moment is that of the receipt by this server's clock, however long the rows have waited on a disk.
INSERT INTO otn.webhook_event (received_day, id, received_at, body)
SELECT received_day, id, clock_timestamp() - make_interval(secs => age_s), body
FROM unnest(:days::date[], :ids::uuid[], :ages::float8[], :bodies::bytea[]) AS receipt (received_day, id, age_s, body)
ORDER BY received_day, id
ON CONFLICT DO NOTHING;

-- name: can_store()$
-- Health asks what matters: a standby or a role without the right answers, and yet could not store.
SELECT NOT pg_is_in_recovery() AND has_table_privilege('otn.webhook_event', 'INSERT');

-- name: ask_deletion(id, code, user_id, user_hash)!
-- Asked twice before it is done, it is one request.
INSERT INTO otn.deletion_request (id, code, user_id, user_hash)
VALUES (:id, :code, :user_id, :user_hash)
ON CONFLICT (user_hash) WHERE state = 'received' DO NOTHING;

-- name: open_deletion(user_hash)$
-- The code of the request that is open; none where it was carried out a moment ago.
SELECT code FROM otn.deletion_request WHERE user_hash = :user_hash AND state = 'received';

-- name: find_deletion(code)^
-- What a person who has the code may see of it.
SELECT state, people, received_at, done_at FROM otn.deletion_request WHERE code = :code;
