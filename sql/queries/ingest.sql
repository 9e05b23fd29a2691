-- Ingest: a slice of events is staged by COPY and merged by sets. Every table is written in the order of its key, and
-- the tables always in the same order: two ingests may wait for each other, but never in a circle. The order is topics,
-- people, tokens, events, suppression, recipients, messages inside the window, pages.

-- name: hold_opt_ins!
-- As every INSERT does, but before topics are looked up: whoever adopts opt-ins then waits until those of this slice are
-- there to be moved.
LOCK TABLE otn.token, otn.suppression IN ROW EXCLUSIVE MODE;

-- name: context^
-- What reading a slice needs to know: the clock that decides, the pages, whether anybody was ever erased, and whether
-- anything was ever to be sent inside the window.
SELECT clock_timestamp() AS now, EXISTS (SELECT FROM otn.tombstone) AS any_erased,
       EXISTS (SELECT FROM otn.window_message) AS any_window,
       (SELECT coalesce(jsonb_object_agg(page_id, id), '{}') FROM otn.page) AS pages;

-- name: erased
-- People who must not come back, among these.
SELECT psid_hash FROM otn.tombstone WHERE psid_hash = ANY (:hashes::bytea[]);

-- name: find_topics
-- What payloads are known, and what their topic does for whoever opts in: an adopted one does what its adopter does.
SELECT t.id, t.page_id, t.payload, t.registered_at IS NOT NULL AS registered, t.adopted_by,
       coalesce(o.labels, t.labels) AS labels, CASE WHEN o.id IS NULL THEN t.reply ELSE o.reply END AS reply
FROM unnest(:page_ids::integer[], :payloads::text[]) AS w(page_id, payload)
JOIN otn.topic t ON t.page_id = w.page_id AND t.payload = w.payload
LEFT JOIN otn.topic o ON o.id = t.adopted_by;

-- name: meet_topics!
-- A payload that nobody registered becomes a topic of its own. A key or payload that another transaction took meanwhile
-- is seen by the caller's next look.
INSERT INTO otn.topic (page_id, key, payload)
SELECT m.page_id,
       CASE WHEN EXISTS (SELECT FROM otn.topic t WHERE t.page_id = m.page_id AND t.key = m.key)
            THEN m.key || '~' || md5(m.payload) ELSE m.key END,
       m.payload
FROM unnest(:page_ids::integer[], :keys::text[], :payloads::text[]) AS m(page_id, key, payload)
ORDER BY m.page_id, m.payload
ON CONFLICT DO NOTHING;

-- name: make_stage#
-- Lives as long as the transaction. One row an event, each fingerprint once; that of an opt-in is the hash of its token.
CREATE TEMPORARY TABLE stage (
    webhook_day date NOT NULL, webhook_id uuid NOT NULL, fingerprint bytea NOT NULL,
    kind otn.event_kind NOT NULL, page_id integer NOT NULL, psid text, occurred_at timestamptz NOT NULL,
    opens_window boolean NOT NULL, awaited boolean NOT NULL, mid text, mids text[], watermark timestamptz,
    metadata text, payload text, detail text, ref text, topic_id integer, labels text[], token_encrypted bytea
) ON COMMIT DROP;

-- name: merge_subscribers!
-- The last interaction moves forward only, and never ahead of our clock: it opens the 24 h window. A new opt-in brings the labels of its topic. Who said a stop or start word,
-- or gets an answer, is locked in any case: two words of one person are settled one after the other.
WITH given AS MATERIALIZED (
    SELECT g.page_id, g.psid, array_agg(DISTINCT l.label ORDER BY l.label) AS labels
    FROM stage g CROSS JOIN unnest(g.labels) AS l(label)
    WHERE g.labels IS NOT NULL AND NOT EXISTS (SELECT FROM otn.token k WHERE k.token_hash = g.fingerprint)
    GROUP BY g.page_id, g.psid
)
INSERT INTO otn.subscriber (page_id, psid, last_interaction_at, labels)
SELECT m.page_id, m.psid, m.last_at, coalesce(given.labels, '{}')
FROM (SELECT page_id, psid, max(least(occurred_at, clock_timestamp())) FILTER (WHERE opens_window) AS last_at, bool_or(awaited) AS awaited
      FROM stage WHERE psid IS NOT NULL GROUP BY page_id, psid) m
LEFT JOIN given ON given.page_id = m.page_id AND given.psid = m.psid
LEFT JOIN otn.subscriber s ON s.page_id = m.page_id AND s.psid = m.psid
WHERE s.id IS NULL OR m.awaited OR m.last_at > coalesce(s.last_interaction_at, '-infinity')
   OR NOT given.labels <@ s.labels
ORDER BY m.page_id, m.psid
ON CONFLICT (page_id, psid) DO UPDATE
SET last_interaction_at = greatest(subscriber.last_interaction_at, excluded.last_interaction_at),
    labels = CASE WHEN excluded.labels <@ subscriber.labels THEN subscriber.labels
                  ELSE subscriber.labels || ARRAY(SELECT unnest(excluded.labels) EXCEPT SELECT unnest(subscriber.labels) ORDER BY 1) END;

-- name: merge_tokens
-- The token is the only identity that an opt-in has. Answers the new ones. People are looked up row by row, so that no
-- statistics of yesterday can make it a walk over all of them.
INSERT INTO otn.token (subscriber_id, topic_id, ref, token_hash, token_encrypted, opted_in_at, expires_at, source)
SELECT (SELECT s.id FROM otn.subscriber s WHERE s.page_id = g.page_id AND s.psid = g.psid),
       g.topic_id, g.ref, g.fingerprint, g.token_encrypted, g.occurred_at, g.occurred_at + interval '1 year', 'webhook'
FROM stage g
WHERE g.kind = 'optin'
ORDER BY g.fingerprint
ON CONFLICT (token_hash) DO NOTHING
RETURNING id, token_hash AS fingerprint, subscriber_id, topic_id, ref, opted_in_at;

-- name: merge_events
-- Every event once. Answers the new ones.
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, mid, mids, watermark, metadata, payload,
                       detail, ref, topic_id, webhook_day, webhook_id)
SELECT g.fingerprint, g.page_id, (SELECT s.id FROM otn.subscriber s WHERE s.page_id = g.page_id AND s.psid = g.psid),
       g.kind, g.occurred_at, g.mid, g.mids, g.watermark, g.metadata, g.payload, g.detail,
       CASE WHEN g.kind <> 'optin' THEN g.ref END, CASE WHEN g.kind = 'message' THEN g.topic_id END,
       g.webhook_day, g.webhook_id
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
