-- Tests of a message: who may get one, one row a person, and what became of each.

-- name: people_to_choose
-- Whom somebody means by a label, by our number or, where he may see names, by the beginning of a name. Names are in no index:
-- only people of the last 24 hours are read for them and for labels.
WITH found AS MATERIALIZED (
    SELECT p.id FROM otn.subscriber p
    WHERE p.page_id = :page_id AND p.erased_at IS NULL AND p.last_interaction_at > now() - interval '24 hours'
      AND (p.labels @> ARRAY[:label::text]
           OR concat_ws(' ', p.first_name, p.last_name) ILIKE :beginning OR p.last_name ILIKE :beginning)
    UNION
    SELECT p.id FROM otn.subscriber p WHERE p.id = :number AND p.page_id = :page_id
    ORDER BY id LIMIT :most
)
SELECT a.subscriber_id AS id, p.first_name, p.last_name, p.labels, a.closes_at, a.reason
FROM otn.test_audience(:page_id, :topic_id, ARRAY(SELECT id FROM found)) a JOIN otn.subscriber p ON p.id = a.subscriber_id
ORDER BY a.reason IS NOT NULL, a.subscriber_id;

-- name: people_by_ids
-- Those who were chosen already, as they stand now.
SELECT a.subscriber_id AS id, p.first_name, p.last_name, p.labels, a.closes_at, a.reason
FROM otn.test_audience(:page_id, :topic_id, :ids::bigint[]) a JOIN otn.subscriber p ON p.id = a.subscriber_id
ORDER BY a.subscriber_id;

-- name: insert_test^
-- The same key twice is one test: the second waits for the first, and writes nothing.
INSERT INTO otn.test_message (page_id, topic_id, key, created_by) VALUES (:page_id, :topic_id, :key, :actor)
ON CONFLICT ON CONSTRAINT test_message_key_once DO NOTHING
RETURNING id;

-- name: find_test^
-- By the run that tests.
SELECT t.id, t.key, t.page_id, p.connection_id, t.created_by, t.created_at, coalesce(p.halt_reason, e.halt_reason) AS halt_reason
FROM otn.test_message t JOIN otn.page p ON p.id = t.page_id CROSS JOIN otn.epoch e
WHERE (:id::bigint IS NULL OR t.id = :id) AND (:key::text IS NULL OR t.key = :key);

-- name: plan_test
-- One row a person, to be sent or with the reason why not. No token is looked at but for its reference.
INSERT INTO otn.window_message (page_id, subscriber_id, cause, test_id, topic_id, ref, card, message, state, not_after, reason)
SELECT :page_id, a.subscriber_id, 'test', :test_id, :topic_id, a.ref, false,
       CASE WHEN a.reason IS NULL THEN :message::jsonb END,
       CASE WHEN a.reason IS NULL THEN 'waiting' ELSE 'skipped' END::otn.window_state,
       coalesce(a.closes_at, clock_timestamp()), a.reason
FROM otn.test_audience(:page_id, :topic_id, :people::bigint[]) a
ORDER BY a.subscriber_id
RETURNING subscriber_id, state::text, reason;

-- name: results
-- What became of everybody, by our numbers.
SELECT m.subscriber_id, m.state::text AS state, m.reason, m.error_code, m.error_subcode, m.evidence, m.called_at, m.sent_at
FROM otn.window_message m WHERE m.test_id = :test_id ORDER BY m.subscriber_id;

-- name: still_to_send^
-- Whether a run has anything left to do, and when the first may go.
SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'sending') AS sending,
       extract(epoch FROM min(coalesce(not_before, clock_timestamp())) FILTER (WHERE state = 'waiting') - clock_timestamp())::float AS wait_s
FROM otn.window_message WHERE test_id = :test_id AND state IN ('waiting', 'sending');
