-- Landing: what lies below a URL, how far each file was taken, and what became of its lines.

-- name: meet_landing$
-- The number that stands for a URL.
INSERT INTO otn.landing (url) VALUES (:url) ON CONFLICT (url) DO UPDATE SET url = excluded.url RETURNING id;

-- name: now$
-- What was seen before it, and waits, has gone.
SELECT clock_timestamp();

-- name: meet_files$
-- Files that are new, that have changed, or that were gone for a while; the position stays: a file that only grew is gone
-- on with. Names that nobody may open are refused at once. Answers how many.
WITH met AS (
    INSERT INTO otn.landing_file AS f (landing_id, name, size, version, state, error, due_at)
    SELECT DISTINCT ON (l.name) :landing_id, l.name, l.size, l.version,
           CASE WHEN l.error IS NULL THEN 'waiting' ELSE 'refused' END, l.error,
           CASE WHEN l.error IS NULL THEN clock_timestamp() END
    FROM unnest(:names::text[], :sizes::bigint[], :versions::text[], :errors::text[]) AS l (name, size, version, error)
    ORDER BY l.name, l.error NULLS FIRST, l.version -- one that cannot be opened keeps none away of the same name
    ON CONFLICT (landing_id, name) DO UPDATE
    SET size = excluded.size, version = excluded.version, state = excluded.state, error = excluded.error,
        due_at = excluded.due_at, tries = 0, taken_at = NULL, seen_at = clock_timestamp()
    WHERE f.version <> excluded.version OR f.error = 'vanished'
    RETURNING 1
)
SELECT count(*) FROM met;

-- name: see_files!
-- Those that wait and lie there as they did.
WITH seen AS MATERIALIZED (
    SELECT f.id FROM otn.landing_file f
    WHERE f.landing_id = :landing_id AND f.state = 'waiting' AND f.name = ANY (:names::text[])
    ORDER BY f.name FOR UPDATE
)
UPDATE otn.landing_file f SET seen_at = clock_timestamp() FROM seen WHERE f.id = seen.id;

-- name: miss_files!
-- Files that were taken away before they were taken in: somebody should know. Only after everything was listed.
UPDATE otn.landing_file SET state = 'refused', error = 'vanished', due_at = NULL
WHERE landing_id = :landing_id AND state = 'waiting' AND seen_at < :before;

-- name: looked!
-- Everything was listed.
UPDATE otn.landing SET looked_at = clock_timestamp(), failed_at = NULL, error = NULL WHERE id = :landing_id;

-- name: not_looked!
-- It could not be listed, or not all of it; since when stays.
UPDATE otn.landing SET failed_at = coalesce(failed_at, clock_timestamp()), error = :error WHERE id = :landing_id;

-- name: give_up!
-- Tried so often, and nothing more was read of it: a person must look.
UPDATE otn.landing_file SET state = 'refused', error = coalesce(error, 'interrupted'), due_at = NULL
WHERE landing_id = :landing_id AND state = 'waiting' AND tries >= :most AND due_at <= clock_timestamp();

-- name: begin_next^
-- The file that has waited longest. The next try is set before this one begins, later each time: a file that kills its
-- reader must not do so each minute, nor keep the others waiting. So two runs do not meet on one file either.
UPDATE otn.landing_file f
SET tries = f.tries + 1, due_at = clock_timestamp() + least(interval '1 minute' * power(2, f.tries), interval '1 hour')
WHERE f.id = (
    SELECT w.id FROM otn.landing_file w
    WHERE w.landing_id = :landing_id AND w.state = 'waiting' AND w.due_at <= clock_timestamp() AND w.tries < :most
    ORDER BY w.due_at, w.id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING f.id, f.name, f.size, f.version, (f.found_at AT TIME ZONE 'UTC')::date AS found_on, f.read_bytes, f.read_lines,
          f.read_digest, f.lines, f.imported, f.webhooks, f.duplicate, f.expired, f.reasons;

-- name: hold$
-- Whether the file still stands where this run left it: it may be slow, and another one further. Held until the commit.
SELECT EXISTS (SELECT FROM otn.landing_file
               WHERE id = :id AND state = 'waiting' AND version = :version AND read_bytes = :read_bytes AND lines = :lines
               FOR UPDATE);

-- name: advance!
-- In the transaction that stored what stood in these lines: after a crash nothing is counted twice.
UPDATE otn.landing_file SET read_bytes = :read_bytes, read_lines = :read_lines, read_digest = :read_digest, lines = :lines,
       imported = :imported, webhooks = :webhooks, duplicate = :duplicate, expired = :expired, refused = :refused,
       reasons = :reasons, tries = 1, error = NULL, due_at = clock_timestamp() + interval '1 minute'
WHERE id = :id;

-- name: finish!
-- Read to its end.
UPDATE otn.landing_file SET state = 'taken', taken_at = clock_timestamp(), due_at = NULL, tries = 0, error = NULL
WHERE id = :id;

-- name: put_off!
-- The run's time is over; the next one goes on at once.
UPDATE otn.landing_file SET tries = 0, due_at = clock_timestamp()
WHERE id = :id AND state = 'waiting' AND version = :version AND read_bytes = :read_bytes;

-- name: fail!
-- Why this try ended; the next one is set already.
UPDATE otn.landing_file SET error = :error WHERE id = :id AND state = 'waiting' AND version = :version;

-- name: start_over!
-- What stood there before is not what stands there now: its figures are those of another file.
WITH forgotten AS (DELETE FROM otn.landing_refusal WHERE file_id = :id)
UPDATE otn.landing_file SET read_bytes = 0, read_lines = 0, read_digest = NULL, lines = 0, imported = 0, webhooks = 0,
       duplicate = 0, expired = 0, refused = 0, reasons = '{}'
WHERE id = :id;

-- name: keep_refusals!
-- Where to look in the file.
INSERT INTO otn.landing_refusal (file_id, line, reason)
SELECT :id, * FROM unnest(:lines::bigint[], :reasons::text[]) ON CONFLICT (file_id, line) DO NOTHING;

-- name: store_webhooks$
-- As the receiver does, with a day and an id that follow from the file's day and the body: read again, it is one row.
-- Answers how many are new.
WITH stored AS (
    INSERT INTO otn.webhook_event (received_day, id, body)
    SELECT :day::date, * FROM unnest(:ids::uuid[], :bodies::bytea[]) AS receipt (id, body) ORDER BY receipt.id
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM stored;

-- name: list_files
-- Newest first.
SELECT f.id, l.url, f.name, f.state, f.size, f.error, f.tries, f.due_at, f.lines, f.imported, f.webhooks, f.duplicate,
       f.expired, f.refused, f.reasons, f.found_at, f.taken_at
FROM otn.landing_file f JOIN otn.landing l ON l.id = f.landing_id
WHERE :state::text IS NULL OR f.state = :state
ORDER BY f.id DESC LIMIT :most;

-- name: list_landings
-- Each URL, and how its files are.
SELECT l.url, l.looked_at, l.failed_at, l.error, s.waiting, s.failing, s.taken, s.refused, s.dismissed
FROM otn.landing l CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE f.state = 'waiting') AS waiting,
           count(*) FILTER (WHERE f.state = 'waiting' AND f.error IS NOT NULL) AS failing,
           count(*) FILTER (WHERE f.state = 'taken') AS taken, count(*) FILTER (WHERE f.state = 'refused') AS refused,
           count(*) FILTER (WHERE f.state = 'dismissed') AS dismissed
    FROM otn.landing_file f WHERE f.landing_id = l.id) AS s
ORDER BY l.id;

-- name: find_files
-- By number or name; a name may stand below two URLs.
SELECT f.id, f.name FROM otn.landing_file f
WHERE f.name = ANY (:names::text[]) OR f.id::text = ANY (:names::text[]) ORDER BY f.id;

-- name: refused_files
-- Those that a person must look at.
SELECT id FROM otn.landing_file WHERE state = 'refused' ORDER BY id;

-- name: refusals
-- In the order of the file.
SELECT r.line, r.reason FROM otn.landing_refusal r WHERE r.file_id = :id ORDER BY r.line;

-- name: wait_again!
-- From the beginning, whatever was taken of it: duplicates are harmless.
UPDATE otn.landing_file SET state = 'waiting', due_at = clock_timestamp(), seen_at = clock_timestamp(), tries = 0,
       error = NULL, taken_at = NULL, read_bytes = 0, read_lines = 0, read_digest = NULL
WHERE id = ANY (:ids::bigint[]);

-- name: dismiss
-- Somebody has seen it. Answers which of them were refused.
WITH seen AS (
    UPDATE otn.landing_file SET state = 'dismissed' WHERE id = ANY (:ids::bigint[]) AND state = 'refused' RETURNING id
)
SELECT id FROM seen ORDER BY id;

-- name: trouble^
-- What a person should look at: landings that cannot be listed, files that nobody tries again, files that fail, and lines
-- refused in a day.
SELECT (SELECT count(*) FROM otn.landing WHERE failed_at < clock_timestamp() - make_interval(secs => :patience_s)) AS unlisted,
       (SELECT count(*) FROM otn.landing_file WHERE state = 'refused') AS refused,
       (SELECT count(*) FROM otn.landing_file WHERE state = 'waiting' AND error IS NOT NULL) AS failing,
       t.files, t.lines, (SELECT count(*) FROM otn.landing) AS landings
FROM (SELECT count(*) AS files, coalesce(sum(refused), 0)::bigint AS lines FROM otn.landing_file
      WHERE refused > 0 AND taken_at > clock_timestamp() - interval '1 day') AS t;
