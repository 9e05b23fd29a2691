-- name: page_connections()
-- Which connections speak for registered pages: their secrets are the ones that may sign.
SELECT connection_id FROM otn.page ORDER BY id;

-- name: store_webhook(received_day, id, body)!
-- Day and id were given at receipt, so that an INSERT whose answer was lost can be repeated without a second row.
INSERT INTO otn.webhook_event (received_day, id, body)
VALUES (:received_day, :id, :body)
ON CONFLICT (received_day, id) DO NOTHING;

-- name: can_store()$
-- Health asks what matters: a standby or a role without the right answers, and yet could not store.
SELECT NOT pg_is_in_recovery() AND has_table_privilege('otn.webhook_event', 'INSERT');
