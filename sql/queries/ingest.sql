-- Ingest: a slice of events is staged by COPY and merged by sets. Every table is written in the order of its key, and
-- the tables always in the same order: two ingests may wait for each other, but never in a circle.

-- name: context^
-- What reading a slice needs to know: the clock that decides, the pages, and whether anybody was ever erased.
SELECT clock_timestamp() AS now, EXISTS (SELECT FROM otn.tombstone) AS any_erased,
       (SELECT coalesce(jsonb_object_agg(page_id, id), '{}') FROM otn.page) AS pages;

-- name: erased
-- People who must not come back, among these.
SELECT psid_hash FROM otn.tombstone WHERE psid_hash = ANY (:hashes::bytea[]);

-- name: make_stage#
-- Lives as long as the transaction. One row an event, each fingerprint once; that of an opt-in is the hash of its token.
CREATE TEMPORARY TABLE stage (
    webhook_day date NOT NULL, webhook_id uuid NOT NULL, fingerprint bytea NOT NULL,
    kind otn.event_kind NOT NULL, page_id integer NOT NULL, psid text, occurred_at timestamptz NOT NULL,
    opens_window boolean NOT NULL, mid text, mids text[], watermark timestamptz, metadata text, payload text, detail text,
    topic_key text, topic_payload text, token_encrypted bytea
) ON COMMIT DROP;

-- name: meet_topics$
-- A payload that nobody registered is kept as a topic of its own, so that no opt-in is lost. How many are still
-- missing: a key or payload that another transaction took meanwhile is seen by the next statement.
WITH missing AS MATERIALIZED (
    SELECT g.page_id, min(g.topic_key) AS key, g.topic_payload AS payload FROM stage g
    WHERE g.topic_payload IS NOT NULL
      AND NOT EXISTS (SELECT FROM otn.topic t WHERE t.page_id = g.page_id AND t.payload = g.topic_payload)
    GROUP BY g.page_id, g.topic_payload
), met AS (
    INSERT INTO otn.topic (page_id, key, payload)
    SELECT m.page_id,
           CASE WHEN EXISTS (SELECT FROM otn.topic t WHERE t.page_id = m.page_id AND t.key = m.key)
                THEN m.key || '~' || md5(m.payload) ELSE m.key END,
           m.payload
    FROM missing m ORDER BY m.page_id, m.payload
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT (SELECT count(*) FROM missing) - (SELECT count(*) FROM met);

-- name: merge_subscribers!
-- The last interaction moves forward only. Who said a stop or start word is locked in any case, so that two words of
-- one person are settled one after the other.
INSERT INTO otn.subscriber (page_id, psid, last_interaction_at)
SELECT m.page_id, m.psid, m.last_at
FROM (SELECT page_id, psid, max(occurred_at) FILTER (WHERE opens_window) AS last_at,
             bool_or(kind = 'message' AND detail IS NOT NULL) AS spoke
      FROM stage WHERE psid IS NOT NULL GROUP BY page_id, psid) m
LEFT JOIN otn.subscriber s ON s.page_id = m.page_id AND s.psid = m.psid
WHERE s.id IS NULL OR m.spoke OR m.last_at > coalesce(s.last_interaction_at, '-infinity')
ORDER BY m.page_id, m.psid
ON CONFLICT (page_id, psid) DO UPDATE
SET last_interaction_at = greatest(subscriber.last_interaction_at, excluded.last_interaction_at);

-- name: merge_tokens
-- The token is the only identity that an opt-in has. Answers the new ones. People and topics are looked up row by row,
-- so that no statistics of yesterday can make it a walk over all people.
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at, source)
SELECT (SELECT s.id FROM otn.subscriber s WHERE s.page_id = g.page_id AND s.psid = g.psid),
       (SELECT t.id FROM otn.topic t WHERE t.page_id = g.page_id AND t.payload = g.topic_payload),
       g.fingerprint, g.token_encrypted, g.occurred_at, g.occurred_at + interval '1 year', 'webhook'
FROM stage g
WHERE g.kind = 'optin'
ORDER BY g.fingerprint
ON CONFLICT (token_hash) DO NOTHING
RETURNING token_hash AS fingerprint;

-- name: merge_events
-- Every event once. Answers the new ones.
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, mid, mids, watermark, metadata, payload,
                       detail, webhook_day, webhook_id)
SELECT g.fingerprint, g.page_id, (SELECT s.id FROM otn.subscriber s WHERE s.page_id = g.page_id AND s.psid = g.psid),
       g.kind, g.occurred_at, g.mid, g.mids, g.watermark, g.metadata, g.payload, g.detail, g.webhook_day, g.webhook_id
FROM stage g
ORDER BY g.fingerprint
ON CONFLICT (fingerprint) DO NOTHING
RETURNING id, fingerprint;

-- name: stored^
-- What a second look must find: every event, and the token of every opt-in.
SELECT coalesce(array_agg(id) FILTER (WHERE id IS NOT NULL), '{}') AS ids,
       count(*) FILTER (WHERE is_optin AND NOT has_token) AS tokens_missing
FROM (SELECT (SELECT e.id FROM otn.event e WHERE e.fingerprint = g.fingerprint) AS id, g.kind = 'optin' AS is_optin,
             EXISTS (SELECT FROM otn.token k WHERE k.token_hash = g.fingerprint) AS has_token
      FROM stage g) found;
