-- Suppression: people who asked for silence, for a topic or for all.

-- name: named_topics
-- Topics that a word may name: registered ones by key or title, those merely met by their key.
SELECT t.page_id, coalesce(t.adopted_by, t.id) AS id, t.key, t.title FROM otn.topic t
WHERE t.page_id = ANY (:page_ids::integer[]) AND (t.registered_at IS NOT NULL OR lower(t.key) = ANY (:names::text[]));

-- name: lift_stops
-- A start lifts the stops before it: those of its topic and of what that has adopted, or all of them. What an operator
-- decided no word lifts. The person's row is held, so no order of rows is needed.
DELETE FROM otn.suppression p USING otn.event e
WHERE e.id = ANY (:event_ids::bigint[]) AND e.kind = 'message' AND e.detail = 'start_word'
  AND p.subscriber_id = e.subscriber_id AND p.reason = 'stop_word' AND p.since < e.occurred_at
  AND (e.topic_id IS NULL OR p.topic_id = e.topic_id
       OR p.topic_id IN (SELECT t.id FROM otn.topic t WHERE t.adopted_by = e.topic_id))
RETURNING p.subscriber_id, p.topic_id, p.reason, e.occurred_at AS since;

-- name: keep_stops
-- A stop counts by its own time: messages come late and out of order, and a later start has lifted it already. At the
-- same instant silence wins. Only new stops are kept, so that what an operator lifted stays lifted.
INSERT INTO otn.suppression (subscriber_id, topic_id, reason, since, actor)
SELECT s.subscriber_id, s.topic_id, 'stop_word', s.at, 'person'
FROM (SELECT e.subscriber_id, e.topic_id, max(e.occurred_at) AS at FROM otn.event e
      WHERE e.id = ANY (:event_ids::bigint[]) AND e.kind = 'message' AND e.detail = 'stop_word'
      GROUP BY e.subscriber_id, e.topic_id) s
WHERE NOT EXISTS (
    SELECT FROM otn.event e
    WHERE e.subscriber_id = s.subscriber_id AND e.kind = 'message' AND e.detail = 'start_word' AND e.occurred_at > s.at
      AND (e.topic_id IS NULL OR e.topic_id = s.topic_id))
ORDER BY s.subscriber_id, s.topic_id
ON CONFLICT (subscriber_id, coalesce(topic_id, 0), reason) DO UPDATE
SET since = greatest(suppression.since, excluded.since), actor = excluded.actor
RETURNING subscriber_id, topic_id, reason, since;
