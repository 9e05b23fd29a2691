-- Import: opt-ins collected elsewhere, a slice at a time.

-- name: context^
-- The database's clock; a token is dead a year after its opt-in. Payloads that stand for themselves; those that were
-- adopted as they stand. And all pages.
SELECT clock_timestamp() AS now, clock_timestamp() - interval '1 year' AS year_ago,
       ARRAY(SELECT payload FROM otn.topic WHERE page_id = :page_id AND registered_at IS NOT NULL) AS payloads,
       ARRAY(SELECT payload FROM otn.topic WHERE page_id = :page_id AND adopted_by IS NOT NULL) AS adopted,
       ARRAY(SELECT page_id FROM otn.page) AS pages;

-- name: holders
-- Whose tokens these are already; a person of another page or an erased one is nobody of this file.
SELECT t.token_hash, coalesce(CASE WHEN s.page_id = :page_id THEN s.psid END, '?') AS psid
FROM otn.token t JOIN otn.subscriber s ON s.id = t.subscriber_id WHERE t.token_hash = ANY (:hashes::bytea[]);

-- name: meet_topics$
-- As an ingest does: a payload that nobody registered is a topic of its own. Answers how many are still missing.
WITH missing AS MATERIALIZED (
    SELECT min(g.key) AS key, g.payload FROM unnest(:keys::text[], :payloads::text[]) AS g (key, payload)
    WHERE NOT EXISTS (SELECT FROM otn.topic t WHERE t.page_id = :page_id AND t.payload = g.payload)
    GROUP BY g.payload
), met AS (
    INSERT INTO otn.topic (page_id, key, payload)
    SELECT :page_id, CASE WHEN EXISTS (SELECT FROM otn.topic t WHERE t.page_id = :page_id AND t.key = m.key)
                          THEN m.key || '~' || md5(m.payload) ELSE m.key END, m.payload
    FROM missing m ORDER BY m.payload
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT (SELECT count(*) FROM missing) - (SELECT count(*) FROM met);

-- name: merge_people!
-- In the order of their key. An import says nothing about when anybody spoke last.
INSERT INTO otn.subscriber (page_id, psid)
SELECT :page_id, p.psid FROM unnest(:psids::text[]) AS p (psid)
WHERE NOT EXISTS (SELECT FROM otn.subscriber s WHERE s.page_id = :page_id AND s.psid = p.psid)
ORDER BY p.psid
ON CONFLICT (page_id, psid) DO NOTHING;

-- name: label_people!
-- Labels of the topics, before the tokens: people are always locked first, and in the order of their key.
WITH fresh AS MATERIALIZED (
    SELECT s.id, s.psid, g.label
    FROM (SELECT DISTINCT * FROM unnest(:psids::text[], :payloads::text[])) AS l (psid, payload)
    JOIN otn.topic m ON m.page_id = :page_id AND m.payload = l.payload
    JOIN otn.topic t ON t.id = coalesce(m.adopted_by, m.id)
    CROSS JOIN LATERAL unnest(t.labels) AS g (label)
    JOIN otn.subscriber s ON s.page_id = :page_id AND s.psid = l.psid AND NOT g.label = ANY (s.labels)
), locked AS MATERIALIZED (
    SELECT s.id FROM otn.subscriber s WHERE s.id IN (SELECT id FROM fresh) ORDER BY s.page_id, s.psid FOR UPDATE
)
UPDATE otn.subscriber s SET labels = s.labels || more.labels
FROM (SELECT id, array_agg(DISTINCT label ORDER BY label) AS labels FROM fresh JOIN locked USING (id) GROUP BY id) more
WHERE s.id = more.id;

-- name: merge_tokens!
-- The token is the only identity that an opt-in has. Answers how many are new.
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at, source, ref)
SELECT (SELECT s.id FROM otn.subscriber s WHERE s.page_id = :page_id AND s.psid = l.psid),
       (SELECT coalesce(t.adopted_by, t.id) FROM otn.topic t WHERE t.page_id = :page_id AND t.payload = l.payload),
       l.token_hash, l.token_encrypted, l.opted_in_at, l.opted_in_at + interval '1 year', l.source, l.ref
FROM unnest(:psids::text[], :payloads::text[], :hashes::bytea[], :tokens::bytea[], :refs::text[], :times::timestamptz[],
            :sources::text[]) AS l (psid, payload, token_hash, token_encrypted, ref, opted_in_at, source)
ORDER BY l.token_hash
ON CONFLICT (token_hash) DO NOTHING;
