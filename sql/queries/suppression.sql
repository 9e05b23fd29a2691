-- Suppression: people who asked for silence.

-- name: settle_words
-- The latest word of a person counts, by its own time: messages come late and out of order. At the same instant
-- silence wins. What an operator decided, or an erasure, no word of the person lifts.
WITH latest AS (
    SELECT DISTINCT ON (e.subscriber_id) e.subscriber_id, e.detail, e.occurred_at
    FROM otn.event e
    WHERE e.subscriber_id IN (SELECT subscriber_id FROM otn.event WHERE id = ANY (:event_ids::bigint[]))
      AND e.kind = 'message' AND e.detail IN ('stop_word', 'start_word')
    ORDER BY e.subscriber_id, e.occurred_at DESC, e.detail DESC
), suppressed AS (
    INSERT INTO otn.suppression (subscriber_id, reason, since)
    SELECT subscriber_id, 'stop_word', occurred_at FROM latest WHERE detail = 'stop_word' ORDER BY subscriber_id
    ON CONFLICT (subscriber_id) DO NOTHING
    RETURNING subscriber_id
), lifted AS (
    DELETE FROM otn.suppression s USING latest l
    WHERE l.detail = 'start_word' AND s.subscriber_id = l.subscriber_id AND s.reason = 'stop_word'
    RETURNING s.subscriber_id
)
SELECT (SELECT count(*) FROM suppressed) AS suppressed, (SELECT count(*) FROM lifted) AS lifted;
