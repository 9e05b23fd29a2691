-- Silences: what stands in the journal outside, and is brought back into a database that was restored.

-- name: mark^
-- How far this database has followed the journal, and whether somebody came whom a waiting line may be about.
SELECT m.bytes, m.tail, m.owed, m.walked_id, m.looks, EXISTS (SELECT FROM otn.silence) AS waiting,
       (SELECT coalesce(max(s.id), 0) FROM otn.subscriber s) AS newest_id
FROM otn.silence_mark m;

-- name: hold_mark^
-- Until the commit nobody else adds to the file: its lines are in the order of the commits.
SELECT bytes, tail FROM otn.silence_mark FOR NO KEY UPDATE;

-- name: follow!
-- In the transaction whose lines they are: it has them if and only if it has the mark.
UPDATE otn.silence_mark SET bytes = :bytes, tail = :tail;

-- name: owe!
-- The file could not be written, is not known to this process, or is another one: the next look writes down what it
-- lacks. The row is locked even where something is owed already: whoever pays the debt waits for this commit, and sees it.
UPDATE otn.silence_mark SET owed = true;

-- name: owe_nothing!
-- Everything that stands here stands in the file.
UPDATE otn.silence_mark SET owed = false;

-- name: set_mark!
-- What is new waits for all people to be compared with it.
UPDATE otn.silence_mark
SET bytes = :bytes, tail = :tail, owed = owed OR :owed, looks = looks + CASE WHEN :fresh THEN 1 ELSE 0 END,
    walked_id = CASE WHEN :fresh THEN 0 ELSE walked_id END;

-- name: names
-- What the lines say in place of our numbers.
SELECT s.id, p.page_id, s.psid FROM otn.subscriber s JOIN otn.page p ON p.id = s.page_id
WHERE s.id = ANY (:ids::bigint[]) AND s.psid IS NOT NULL;

-- name: payloads
-- Likewise: after a restore the same topic may have another number.
SELECT id, payload FROM otn.topic WHERE id = ANY (:ids::integer[]);

-- name: put!
-- The later line about the same decides. Nobody who was erased needs one.
INSERT INTO otn.silence (psid_hash, payload, reason, since, lifted)
SELECT l.psid_hash, l.payload, l.reason, l.since, l.lifted
FROM unnest(:hashes::bytea[], :payloads::text[], :reasons::text[], :times::timestamptz[], :lifted::boolean[])
     AS l (psid_hash, payload, reason, since, lifted)
WHERE NOT EXISTS (SELECT FROM otn.tombstone b WHERE b.psid_hash = l.psid_hash)
  AND (l.reason = 'operator' OR l.since > clock_timestamp() - interval '1 year')
ON CONFLICT (psid_hash, reason, (payload IS NULL), coalesce(payload, '')) DO UPDATE
SET since = excluded.since, lifted = excluded.lifted;

-- name: awaited
-- Whom to look for.
SELECT DISTINCT psid_hash FROM otn.silence;

-- name: topics_missing
-- Topics of these people's lines that are not here: they were met or registered after the backup.
SELECT DISTINCT s.page_id, x.payload FROM unnest(:ids::bigint[], :hashes::bytea[]) AS u (id, psid_hash)
JOIN otn.subscriber s ON s.id = u.id JOIN otn.silence x ON x.psid_hash = u.psid_hash
WHERE x.payload IS NOT NULL AND NOT x.lifted
  AND NOT EXISTS (SELECT FROM otn.topic t WHERE t.page_id = s.page_id AND t.payload = x.payload)
ORDER BY 1, 2;

-- name: settle^
-- Silenced again by the time of then, unless a start came later: what the person agreed to afterwards counts. A lift takes
-- away only what is older.
WITH told AS (
    DELETE FROM otn.silence x USING unnest(:ids::bigint[], :hashes::bytea[]) AS u (id, psid_hash), otn.subscriber s
    WHERE x.psid_hash = u.psid_hash AND s.id = u.id AND s.erased_at IS NULL
    RETURNING s.id AS subscriber_id, s.page_id, x.payload, x.reason, x.since, x.lifted
), line AS (
    SELECT told.*, t.id AS topic_id FROM told
    LEFT JOIN otn.topic t ON t.page_id = told.page_id AND t.payload = told.payload
    WHERE told.payload IS NULL OR t.id IS NOT NULL
), silenced AS (
    INSERT INTO otn.suppression (subscriber_id, topic_id, reason, since, actor)
    SELECT l.subscriber_id, l.topic_id, l.reason, l.since, 'journal' FROM line l
    WHERE NOT l.lifted AND NOT (l.reason = 'stop_word' AND EXISTS (
        SELECT FROM otn.event e
        WHERE e.subscriber_id = l.subscriber_id AND e.kind = 'message' AND e.detail = 'start_word'
          AND e.occurred_at > l.since AND (e.topic_id IS NULL OR e.topic_id = l.topic_id)))
    ORDER BY l.subscriber_id, l.topic_id
    ON CONFLICT (subscriber_id, coalesce(topic_id, 0), reason) DO UPDATE SET since = excluded.since
    WHERE suppression.reason = 'stop_word' AND suppression.since < excluded.since
    RETURNING 1
), lifted AS (
    DELETE FROM otn.suppression p USING line l
    WHERE l.lifted AND p.subscriber_id = l.subscriber_id AND p.topic_id IS NOT DISTINCT FROM l.topic_id
      AND p.reason = l.reason AND p.since < l.since
    RETURNING 1
)
SELECT (SELECT count(*) FROM silenced) AS silenced, (SELECT count(*) FROM lifted) AS lifted;

-- name: walked!
-- Everybody was compared; unless more lines have come meanwhile, and whoever took them up is still looking.
UPDATE otn.silence_mark SET walked_id = greatest(walked_id, :walked_id) WHERE looks = :looks;

-- name: forget_spent!
-- Everybody was compared: nobody is here from whom a silence could be lifted. And tokens that a stop a year ago took back
-- are dead.
DELETE FROM otn.silence
WHERE (lifted OR (reason = 'stop_word' AND since < clock_timestamp() - interval '1 year'))
  AND EXISTS (SELECT FROM otn.silence_mark m WHERE m.looks = :looks);

-- name: forget_person!
-- Whoever left for good is kept away by the tombstone.
DELETE FROM otn.silence WHERE psid_hash = :psid_hash;

-- name: standing
-- Silences by the word of a person or an operator, and whether the journal has to know them.
SELECT p.page_id, s.psid, t.payload, x.reason, x.since,
       x.reason = 'operator' OR x.since > clock_timestamp() - interval '1 year' AS counts
FROM otn.suppression x JOIN otn.subscriber s ON s.id = x.subscriber_id JOIN otn.page p ON p.id = s.page_id
LEFT JOIN otn.topic t ON t.id = x.topic_id
WHERE s.psid IS NOT NULL AND x.reason IN ('operator', 'stop_word')
ORDER BY x.id;
