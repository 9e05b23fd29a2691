-- Asks: one run of asking people whose window is open for one later message on a topic.

-- name: lock_asking^
-- Two asks that look at once would choose the same people; the second waits and then sees them as asked.
SELECT pg_advisory_xact_lock(hashtext('otn.ask'), :page_id);

-- name: insert_ask!
-- The same key twice is one ask: the second insert does nothing.
INSERT INTO otn.ask (page_id, topic_id, key, ref, include_labels, exclude_labels, filter, stock, stock_reason, max_people,
                     gate_reason, created_by)
VALUES (:page_id, :topic_id, :key, :ref, :include_labels, :exclude_labels, :filter, :stock, :stock_reason, :max_people,
        :gate_reason, :actor)
ON CONFLICT ON CONSTRAINT ask_key_once DO NOTHING;

-- name: find_ask^
-- By the name that a run or a person knows.
SELECT * FROM otn.ask WHERE page_id = :page_id AND key = :key;

-- name: count_people
-- Who would be asked now and who would not, by reason; the plan reads the same function.
SELECT reason, count(*) AS people
FROM otn.ask_audience(:page_id, :topic_id, :ref, :include_labels, :exclude_labels, :filter, :stock, :gated, :max_people)
GROUP BY reason ORDER BY reason;

-- name: plan_ask^
-- One statement writes a card for everybody who is asked, and how many were left out for what.
WITH audience AS MATERIALIZED (
    SELECT * FROM otn.ask_audience(:page_id, :topic_id, :ref, :include_labels, :exclude_labels, :filter, :stock, :gated, :max_people)
), asked AS (
    INSERT INTO otn.window_message (page_id, subscriber_id, cause, ask_id, topic_id, ref, card, message, not_after)
    SELECT :page_id, subscriber_id, 'ask', :ask_id, :topic_id, :ref, true, :message, closes_at
    FROM audience WHERE reason IS NULL ORDER BY closes_at, subscriber_id
    RETURNING 1
), told AS (
    UPDATE otn.ask SET excluded = (
        SELECT coalesce(jsonb_object_agg(reason, people), '{}')
        FROM (SELECT reason, count(*) AS people FROM audience WHERE reason IS NOT NULL GROUP BY reason) AS by_reason)
    WHERE id = :ask_id
    RETURNING excluded
)
SELECT (SELECT count(*) FROM asked) AS asked, (SELECT excluded FROM told) AS excluded;

-- name: report_ask^
-- What became of everybody who was asked; reasons and errors as objects.
SELECT a.key AS ask, p.connection_id AS page, t.key AS topic, a.ref, a.stock, a.gate_reason, a.excluded, a.created_by, a.created_at,
       p.halt_reason,
       count(m.id) AS asked,
       count(*) FILTER (WHERE m.state = 'waiting') AS waiting,
       count(*) FILTER (WHERE m.state = 'sending') AS sending,
       count(*) FILTER (WHERE m.state = 'sent') AS sent,
       count(*) FILTER (WHERE m.state = 'refused') AS refused,
       count(*) FILTER (WHERE m.state = 'unknown') AS unknown,
       count(m.tapped_at) AS tapped,
       (SELECT coalesce(jsonb_object_agg(reason, people), '{}') FROM (
           SELECT reason, count(*) AS people FROM otn.window_message
           WHERE ask_id = a.id AND state = 'skipped' GROUP BY reason) AS one) AS skipped,
       (SELECT coalesce(jsonb_object_agg(code, people), '{}') FROM (
           SELECT error_code || '/' || coalesce(error_subcode::text, '-') AS code, count(*) AS people FROM otn.window_message
           WHERE ask_id = a.id AND state = 'refused' GROUP BY code) AS one) AS errors
FROM otn.ask a
JOIN otn.page p ON p.id = a.page_id
JOIN otn.topic t ON t.id = a.topic_id
LEFT JOIN otn.window_message m ON m.ask_id = a.id
WHERE a.id = :ask_id
GROUP BY a.id, p.id, t.id;

-- name: list_asks
-- Newest first, for people.
SELECT a.id, p.connection_id AS page, a.key, t.key AS topic, a.ref, a.created_at, count(m.id) AS asked,
       count(*) FILTER (WHERE m.state = 'sent') AS sent, count(m.tapped_at) AS tapped
FROM otn.ask a
JOIN otn.page p ON p.id = a.page_id
JOIN otn.topic t ON t.id = a.topic_id
LEFT JOIN otn.window_message m ON m.ask_id = a.id
WHERE :page_id::integer IS NULL OR a.page_id = :page_id
GROUP BY a.id, p.id, t.id
ORDER BY a.created_at DESC, a.id DESC LIMIT :most;

-- name: find_ask_page^
-- Which page a run that was cleared goes on with.
SELECT p.id, p.connection_id, p.page_id AS facebook_page_id FROM otn.ask a JOIN otn.page p ON p.id = a.page_id WHERE a.id = :ask_id;

-- name: still_to_send^
-- Whether a run has anything left to do: rows that wait or are in a call, and when the first may go.
SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'sending') AS sending,
       extract(epoch FROM min(coalesce(not_before, clock_timestamp())) FILTER (WHERE state = 'waiting') - clock_timestamp())::float AS wait_s
FROM otn.window_message WHERE ask_id = :ask_id AND state IN ('waiting', 'sending');
