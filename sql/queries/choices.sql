-- Choices: what the trigger forms propose. In an order that does not change by itself, or each minute made a DAG version.

-- name: topic_choices
-- Newest first, each key once: pages may have topics of the same key. Only what can be sent to.
SELECT key FROM otn.topic WHERE registered_at IS NOT NULL GROUP BY key ORDER BY max(id) DESC LIMIT :most;

-- name: page_choices
-- Newest first.
SELECT connection_id AS key FROM otn.page ORDER BY id DESC LIMIT :most;
