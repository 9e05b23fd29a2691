-- Objections: what an operator enters, and lifts again.

-- name: enter^
-- The same twice is one entry: it stands since the first time.
INSERT INTO otn.suppression (subscriber_id, topic_id, reason, actor, note)
VALUES (:subscriber_id, :topic_id, 'operator', :actor, :note)
ON CONFLICT (subscriber_id, coalesce(topic_id, 0), reason)
DO UPDATE SET actor = excluded.actor, note = coalesce(excluded.note, suppression.note)
RETURNING subscriber_id, topic_id, reason, since;

-- name: lift
-- Only what an operator entered: a person's own word is the person's to take back. Of a topic that has adopted others,
-- their entries too: the next adoption would copy them again.
DELETE FROM otn.suppression
WHERE subscriber_id = :subscriber_id AND reason = 'operator'
  AND (topic_id IS NOT DISTINCT FROM :topic_id::integer
       OR topic_id IN (SELECT t.id FROM otn.topic t WHERE t.adopted_by = :topic_id::integer))
RETURNING subscriber_id, topic_id, reason, clock_timestamp() AS since;
