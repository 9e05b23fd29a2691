-- Topics: what a page asks about; known by the payload that an opt-in carries back.

-- name: lock_page_of_topics!
-- Whoever changes the topics of a page holds its row, so that two people do it one after the other.
SELECT id FROM otn.page WHERE id = :page_id FOR NO KEY UPDATE;

-- name: topics_like
-- What a new topic may collide with: its key, or its payload.
SELECT id, page_id, key, title, payload, registered_at, reply, labels, adopted_by FROM otn.topic
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
SELECT id, page_id, key, title, payload, registered_at, reply, labels, adopted_by FROM otn.topic
WHERE page_id = :page_id AND key = :key;

-- name: edit_topic!
-- What belongs to an opt-in beside the topic itself: thanks, and labels.
UPDATE otn.topic SET reply = :reply::jsonb, labels = :labels::text[] WHERE id = :id;

-- name: registered_topics
-- In the order in which a file lists them.
SELECT id, page_id, key, title, payload, registered_at, reply, labels, adopted_by FROM otn.topic
WHERE page_id = :page_id AND registered_at IS NOT NULL
ORDER BY key COLLATE "C";

-- name: topic_keys
-- For the sentence "did you mean"; a page with opt-ins under personal payloads may have very many.
SELECT key FROM otn.topic WHERE page_id = :page_id
ORDER BY registered_at IS NULL, key LIMIT 1000;

-- name: list_topics
-- With what became of every opt-in: opt_ins = unspent + reserved + spent + expired.
SELECT t.id, p.connection_id AS page, t.key, t.title, t.payload, t.registered_at, t.reply, t.labels,
       a.key AS adopted_by,
       coalesce(c.opt_ins, 0) AS opt_ins, coalesce(c.people, 0) AS people, coalesce(c.unspent, 0) AS unspent,
       coalesce(c.expiring, 0) AS expiring, coalesce(c.reserved, 0) AS reserved, coalesce(c.spent, 0) AS spent,
       coalesce(c.expired, 0) AS expired
FROM otn.topic t
JOIN otn.page p ON p.id = t.page_id
LEFT JOIN otn.topic a ON a.id = t.adopted_by
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

-- name: wait_at_most!
-- Whoever waits for a table makes others wait: not for long.
SELECT set_config('lock_timeout', :patience, true);

-- name: hold_opt_ins!
-- An ingest looks up topic and silence when it starts, and a row lock comes too late for that: whoever moves opt-ins to
-- another topic lets the ingests that are writing finish, and has the next ones wait. Sending goes on. Both tables
-- before any row of a page or topic, in the order in which an ingest takes them.
LOCK TABLE otn.token, otn.suppression IN SHARE ROW EXCLUSIVE MODE;

-- name: topics_to_adopt
-- By payload, or by the printable name where a payload cannot be typed; the payload's own topic first.
SELECT id, page_id, key, title, payload, registered_at, reply, labels, adopted_by FROM otn.topic
WHERE page_id = :page_id AND (payload = :payload OR key = :payload)
ORDER BY payload = :payload DESC
LIMIT 1
FOR UPDATE;

-- name: campaigns_under_way
-- Their audience, or their plan, is that of the topic.
SELECT key FROM otn.campaign
WHERE topic_id = :topic_id AND state NOT IN ('finished', 'cancelled')
ORDER BY key;

-- name: adopt_topic!
-- Or release it, by null.
UPDATE otn.topic SET adopted_by = :adopted_by WHERE id = :id;

-- name: move_opt_ins!
-- A payload that held a reference gives it to the tokens that came with it.
UPDATE otn.token SET topic_id = :adopted_by, ref = coalesce(ref, :ref) WHERE topic_id = :id;

-- name: copy_silence
-- Whoever stopped the one has stopped the other; only ever forward in time.
INSERT INTO otn.suppression (subscriber_id, topic_id, reason, since, actor, note)
SELECT s.subscriber_id, :adopted_by, s.reason, s.since, s.actor, s.note FROM otn.suppression s
WHERE s.topic_id = :id
ORDER BY s.subscriber_id
ON CONFLICT (subscriber_id, coalesce(topic_id, 0), reason) DO UPDATE
SET since = greatest(suppression.since, excluded.since)
RETURNING subscriber_id, topic_id, reason, since;
