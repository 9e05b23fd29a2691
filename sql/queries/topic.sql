-- Topics: what a page asks about; known by the payload that an opt-in carries back.

-- name: lock_page_of_topics!
-- Whoever changes the topics of a page holds its row, so that two people do it one after the other.
SELECT id FROM otn.page WHERE id = :page_id FOR NO KEY UPDATE;

-- name: topics_like
-- What a new topic may collide with: its key, or its payload.
SELECT id, page_id, key, title, payload, registered_at FROM otn.topic
WHERE page_id = :page_id AND (key = :key OR payload = :payload)
ORDER BY id;

-- name: insert_topic!
-- An ingest may have met the payload in this very moment: then nothing is inserted, and the caller looks again.
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
VALUES (:page_id, :key, :title, :payload, clock_timestamp())
ON CONFLICT DO NOTHING;

-- name: register_topic!
-- Adopts a topic that was met in opt-ins, or gives a registered one another title.
UPDATE otn.topic SET key = :key, title = :title, registered_at = coalesce(registered_at, clock_timestamp())
WHERE id = :id;

-- name: find_topic^
-- By the name that people use.
SELECT id, page_id, key, title, payload, registered_at FROM otn.topic WHERE page_id = :page_id AND key = :key;

-- name: topic_keys
-- For the sentence "did you mean"; a page with opt-ins under personal payloads may have very many.
SELECT key FROM otn.topic WHERE page_id = :page_id
ORDER BY registered_at IS NULL, key LIMIT 1000;

-- name: list_topics
-- With what became of every opt-in: opt_ins = unspent + reserved + spent + expired.
SELECT t.id, p.connection_id AS page, t.key, t.title, t.payload, t.registered_at,
       coalesce(c.opt_ins, 0) AS opt_ins, coalesce(c.people, 0) AS people, coalesce(c.unspent, 0) AS unspent,
       coalesce(c.expiring, 0) AS expiring, coalesce(c.reserved, 0) AS reserved, coalesce(c.spent, 0) AS spent,
       coalesce(c.expired, 0) AS expired
FROM otn.topic t
JOIN otn.page p ON p.id = t.page_id
LEFT JOIN (
    SELECT k.topic_id,
           count(*) AS opt_ins,
           count(DISTINCT k.subscriber_id) AS people,
           count(*) FILTER (WHERE r.token_id IS NULL AND k.alive) AS unspent,
           count(*) FILTER (WHERE r.token_id IS NULL AND k.alive AND k.expires_at <= now() + make_interval(days => :days)) AS expiring,
           count(*) FILTER (WHERE r.state IN ('waiting', 'sending', 'unknown')) AS reserved,
           count(*) FILTER (WHERE r.state IN ('sent', 'refused')) AS spent,
           count(*) FILTER (WHERE r.token_id IS NULL AND NOT k.alive) AS expired
    FROM (SELECT id, topic_id, subscriber_id, expires_at, token_encrypted IS NOT NULL AND expires_at > now() AS alive
          FROM otn.token) k
    LEFT JOIN otn.recipient r ON r.token_id = k.id AND r.holds_token
    GROUP BY k.topic_id
) c ON c.topic_id = t.id
WHERE :page_id::integer IS NULL OR t.page_id = :page_id
ORDER BY p.id, t.registered_at IS NULL, t.key;
