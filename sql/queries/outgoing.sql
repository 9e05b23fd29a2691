-- Outgoing: results packed into events, and each endpoint walked through them in order.

-- name: lock_packing$
-- One packs at a time, until its commit: numbers are given in the order in which they become visible.
SELECT pg_try_advisory_xact_lock(hashtext('otn.outgoing'));

-- name: pack^
-- The oldest outcomes become events: of one campaign up to so many results in one, cut where the campaign itself took a step, so
-- that its end stands behind what led to it. Of one person the order holds, as a row is locked until its outcome is visible.
-- Taken up to a number, not joined: the table is empty and full by turns, and a join of what Postgres believes to be empty
-- compares each row with each.
WITH taken AS (
    DELETE FROM otn.outcome WHERE id <= (SELECT max(id) FROM (SELECT id FROM otn.outcome ORDER BY id LIMIT :most) AS first)
    RETURNING *
), run AS (
    SELECT taken.*, count(*) FILTER (WHERE subscriber_id IS NULL) OVER (PARTITION BY campaign_id ORDER BY id) AS steps FROM taken
), slice AS (
    SELECT run.*, (row_number() OVER (PARTITION BY campaign_id, steps, subscriber_id IS NULL ORDER BY id) - 1) / :rows_per_event AS part
    FROM run
), made AS (
    INSERT INTO otn.outgoing_event (page_id, campaign_id, kind, content)
    SELECT page_id, campaign_id, kind, content FROM (
        SELECT page_id, campaign_id, max(id) AS last, 'recipients' AS kind, jsonb_build_object('results', jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'subscriber', subscriber_id, 'state', state, 'evidence', evidence, 'code', error_code, 'subcode', error_subcode,
            'reason', reason, 'at', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))) ORDER BY id)) AS content
        FROM slice WHERE subscriber_id IS NOT NULL GROUP BY page_id, campaign_id, steps, part
        UNION ALL
        SELECT page_id, campaign_id, id, 'campaign.' || state, jsonb_build_object(
            'state', state, 'at', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        FROM slice WHERE subscriber_id IS NULL) AS packed
    ORDER BY last
    RETURNING 1
)
SELECT (SELECT count(*) FROM taken) AS outcomes, (SELECT count(*) FROM made) AS events;

-- name: due_endpoints
-- Where there may be something to deliver now.
SELECT e.id FROM otn.endpoint e
WHERE e.disabled_at IS NULL AND e.due_at <= clock_timestamp() AND (e.lease_until IS NULL OR e.lease_until <= clock_timestamp())
  AND EXISTS (SELECT FROM otn.outgoing_event v WHERE v.page_id = e.page_id AND v.id > e.position AND v.kind = ANY (e.kinds))
ORDER BY e.due_at, e.id;

-- name: lease^
-- One delivers to an endpoint at a time; whoever died with it is forgotten when the lease ends.
UPDATE otn.endpoint e SET lease = gen_random_uuid(), lease_until = clock_timestamp() + make_interval(secs => :lease_s)
FROM otn.page p
WHERE e.id = :id AND p.id = e.page_id AND e.disabled_at IS NULL AND e.due_at <= clock_timestamp()
  AND (e.lease_until IS NULL OR e.lease_until <= clock_timestamp())
RETURNING e.id, e.key, e.url, e.secret, CASE WHEN e.secret_until > clock_timestamp() THEN e.secret_before END AS secret_before,
          e.lease::text, p.connection_id AS page;

-- name: renew_lease$
-- Before each request: whoever lost the lease makes none.
UPDATE otn.endpoint SET lease_until = clock_timestamp() + make_interval(secs => :lease_s)
WHERE id = :id AND lease = :lease::uuid RETURNING true;

-- name: release!
-- Nothing more to do for now.
UPDATE otn.endpoint SET lease = NULL, lease_until = NULL WHERE id = :id AND lease = :lease::uuid;

-- name: next_event^
-- The one after the last that it took. What it did not ask for is passed.
SELECT v.id, v.event_id::text, v.kind, v.content, v.created_at, v.campaign_id, c.key AS campaign, e.position,
       extract(epoch FROM clock_timestamp())::bigint AS now
FROM otn.endpoint e
JOIN otn.outgoing_event v ON v.page_id = e.page_id AND v.id > e.position AND v.kind = ANY (e.kinds)
JOIN otn.campaign c ON c.id = v.campaign_id
WHERE e.id = :id ORDER BY v.id LIMIT 1;

-- name: took!
-- After it said so. A replay that somebody asked for meanwhile has moved the position back, and stands.
UPDATE otn.endpoint SET position = :event, tries = 0, failed_since = NULL, error = NULL, delivered_at = clock_timestamp(),
       delivered = delivered + 1
WHERE id = :id AND lease = :lease::uuid AND position = :before;

-- name: failed^
-- Later again; given up on when it has failed for too long, or when it said that it is gone.
UPDATE otn.endpoint SET tries = tries + 1, failed_since = coalesce(failed_since, clock_timestamp()), error = :error, lease = NULL,
       lease_until = NULL, due_at = clock_timestamp() + make_interval(secs => greatest(
           :after_s, least(:longest_s, :shortest_s * power(2, least(tries, 20))) * (0.75 + random() / 2))),
       disabled_at = CASE WHEN :gone OR failed_since < clock_timestamp() - make_interval(days => :days) THEN clock_timestamp() END
WHERE id = :id AND lease = :lease::uuid
RETURNING tries, disabled_at IS NOT NULL AS disabled;

-- name: forget_events^
-- What is old goes; which endpoint had not taken it is written down first.
WITH gone AS (
    DELETE FROM otn.outgoing_event WHERE created_at < clock_timestamp() - make_interval(days => :days) RETURNING id, page_id, kind
), missed AS (
    UPDATE otn.endpoint e SET missed = e.missed + lost.events
    FROM (SELECT e.id, count(*) AS events FROM otn.endpoint e
          JOIN gone ON gone.page_id = e.page_id AND gone.id > e.position AND gone.kind = ANY (e.kinds) GROUP BY e.id) lost
    WHERE lost.id = e.id RETURNING lost.events
)
SELECT (SELECT count(*) FROM gone) AS gone, (SELECT coalesce(sum(events), 0)::bigint FROM missed) AS missed;

-- name: add_endpoint^
-- It begins with what happens from now on.
INSERT INTO otn.endpoint (page_id, key, url, kinds, secret, position, created_by)
SELECT :page_id, :key, :url, :kinds::text[], :secret, coalesce(max(v.id), 0), :actor FROM otn.outgoing_event v
ON CONFLICT (page_id, key) DO NOTHING RETURNING id;

-- name: list_endpoints
-- With how much each has still to take.
SELECT e.id, p.connection_id AS page, e.key, e.url, e.kinds, e.delivered, e.delivered_at, e.tries, e.due_at, e.failed_since, e.error,
       e.missed, e.disabled_at, e.secret_until > clock_timestamp() AS rotating, e.created_by, e.created_at,
       (SELECT count(*) FROM otn.outgoing_event v WHERE v.page_id = e.page_id AND v.id > e.position AND v.kind = ANY (e.kinds)) AS waiting
FROM otn.endpoint e JOIN otn.page p ON p.id = e.page_id
WHERE :page_id::integer IS NULL OR e.page_id = :page_id
ORDER BY p.connection_id, e.key;

-- name: find_endpoint^
-- One of them, with what signs.
SELECT e.id, p.connection_id AS page, e.page_id, e.key, e.url, e.kinds, e.secret, e.disabled_at,
       CASE WHEN e.secret_until > clock_timestamp() THEN e.secret_before END AS secret_before, clock_timestamp() AS now
FROM otn.endpoint e JOIN otn.page p ON p.id = e.page_id WHERE e.page_id = :page_id AND e.key = :key FOR UPDATE OF e;

-- name: remove_endpoint!
-- What waits for it goes with it; events of the page stay for the others.
DELETE FROM otn.endpoint WHERE id = :id;

-- name: rotate_secret!
-- Both sign for a while; of two rotations in a row the first secret ends at once.
UPDATE otn.endpoint SET secret_before = secret, secret_until = clock_timestamp() + make_interval(hours => :hours), secret = :secret
WHERE id = :id;

-- name: enable_endpoint!
-- A person says that it can be reached again.
UPDATE otn.endpoint SET disabled_at = NULL, tries = 0, failed_since = NULL, error = NULL, due_at = clock_timestamp() WHERE id = :id;

-- name: replay^
-- Everything since then once more, with the ids that it had; never further on than where it stands.
WITH place AS (
    SELECT e.id, least(e.position, coalesce((
        SELECT max(v.id) FROM otn.outgoing_event v WHERE v.page_id = e.page_id AND v.created_at < :since), 0)) AS position
    FROM otn.endpoint e WHERE e.id = :id
), moved AS (
    UPDATE otn.endpoint e SET position = place.position, due_at = clock_timestamp() FROM place WHERE e.id = place.id
    RETURNING e.page_id, e.position, e.kinds
)
SELECT count(v.id) AS events FROM moved
LEFT JOIN otn.outgoing_event v ON v.page_id = moved.page_id AND v.id > moved.position AND v.kind = ANY (moved.kinds);

-- name: write_audit!
-- Who set where results go.
INSERT INTO otn.audit (actor, action, page_id, detail) VALUES (:actor, :action, :page_id, :detail);

-- name: troubled_endpoints
-- Those that were given up on, and those that have failed for a while.
SELECT e.page_id, e.key, e.disabled_at IS NOT NULL AS disabled, e.error, e.tries, e.failed_since, e.missed
FROM otn.endpoint e
WHERE e.disabled_at IS NOT NULL OR e.failed_since < clock_timestamp() - make_interval(mins => :minutes) ORDER BY e.id;

-- name: waiting_outcomes^
-- Whether anybody packs: what has happened and is in no event yet.
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::bigint AS oldest_s
FROM (SELECT at FROM otn.outcome ORDER BY id LIMIT 1000) AS first;
