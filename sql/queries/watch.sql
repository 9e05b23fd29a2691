-- Watching: how the installation and its pages are, asked of the database.

-- name: partitions^
-- How many days from today on have a partition of their own, without a gap.
SELECT count(*) AS ahead FROM generate_series(0, 30) AS day
WHERE NOT EXISTS (
    SELECT FROM generate_series(0, day) AS earlier
    WHERE to_regclass('otn.webhook_event_' || to_char((clock_timestamp() AT TIME ZONE 'UTC')::date + earlier, 'YYYYMMDD')) IS NULL);

-- name: backlog^
-- Webhooks that nobody has ingested, what could not be read, and what lately could not be read.
SELECT (SELECT count(*) FROM otn.webhook_event WHERE ingested_at IS NULL) AS waiting,
       (SELECT extract(epoch FROM clock_timestamp() - min(received_at))::bigint FROM otn.webhook_event WHERE ingested_at IS NULL) AS oldest_s,
       (SELECT count(*) FROM otn.quarantine WHERE replayed_at IS NULL) AS quarantined,
       (SELECT count(*) FROM otn.quarantine WHERE replayed_at IS NULL AND created_at > clock_timestamp() - interval '1 hour') AS lately;

-- name: unregistered_topics$
-- Payloads that people opted in to and nobody has registered or adopted.
SELECT count(*) FROM otn.topic WHERE registered_at IS NULL AND adopted_by IS NULL;

-- name: has_responder$
-- The responder holds a connection as long as it lives.
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'otn responder');

-- name: open_deletions^
-- People who asked the platform to be deleted here, and are not yet.
SELECT count(*) AS open, extract(epoch FROM clock_timestamp() - min(received_at))::bigint AS oldest_s
FROM otn.deletion_request WHERE state = 'received';

-- name: stopped_campaigns
-- Campaigns that wait for a person.
SELECT c.page_id, p.connection_id AS page, c.key, c.state::text, c.halt_reason
FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
WHERE c.state IN ('halted', 'interrupted') ORDER BY c.id;

-- name: late_answers
-- Answers that should have gone within seconds. Cards of otn_ask wait for the page's pace, and are not meant.
SELECT m.page_id, count(*) AS waiting, extract(epoch FROM clock_timestamp() - min(m.created_at))::bigint AS oldest_s
FROM otn.window_message m JOIN otn.page p ON p.id = m.page_id
WHERE m.state = 'waiting' AND m.cause <> 'ask' AND p.halted_at IS NULL AND m.not_after > clock_timestamp()
  AND greatest(m.created_at, m.not_before) < clock_timestamp() - make_interval(secs => :late_s)
GROUP BY m.page_id;

-- name: doubtful_answers
-- Of the calls of the last day, how many nobody knows the end of: those are never made again.
SELECT m.page_id, count(*) FILTER (WHERE m.state = 'unknown') AS doubtful, count(*) AS called
FROM otn.window_message m
WHERE m.created_at > clock_timestamp() - interval '1 day' AND m.message IS NOT NULL AND m.attempts > 0
GROUP BY m.page_id HAVING count(*) FILTER (WHERE m.state = 'unknown') > 0;

-- name: warned_pages
-- Warnings of the last seven days; a later block speaks for itself.
SELECT DISTINCT ON (e.page_id) e.page_id, e.detail, e.occurred_at
FROM otn.event e
WHERE e.subscriber_id IS NULL AND e.kind = 'policy' AND split_part(e.detail, ':', 1) = 'warning'
  AND e.occurred_at > clock_timestamp() - interval '7 days'
ORDER BY e.page_id, e.occurred_at DESC, e.id DESC;

-- name: dying_tokens
-- Tokens that end within 30 days and that a campaign could still spend, by topic and by the week of their end.
SELECT k.page_id, p.connection_id AS page, k.key AS topic, date_trunc('week', t.expires_at)::date AS week,
       count(DISTINCT t.subscriber_id) AS people, min(t.expires_at) AS first_end
FROM otn.token t
JOIN otn.topic k ON k.id = t.topic_id JOIN otn.page p ON p.id = k.page_id
JOIN otn.subscriber s ON s.id = t.subscriber_id
WHERE t.token_encrypted IS NOT NULL AND t.expires_at > clock_timestamp() AND t.expires_at < clock_timestamp() + interval '30 days'
  AND k.registered_at IS NOT NULL AND s.erased_at IS NULL AND NOT otn.silenced(t.subscriber_id, t.topic_id, t.opted_in_at)
  AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = t.id AND r.holds_token)
GROUP BY k.page_id, p.connection_id, k.key, week ORDER BY k.page_id, k.key, week;

-- name: count_traffic!
-- The last two hours are counted anew each time, so that nothing depends on when the last look was.
INSERT INTO otn.traffic (page_id, quarter, events)
SELECT e.page_id, date_bin('15 minutes', e.created_at, 'epoch'), count(*)
FROM otn.event e
WHERE e.created_at >= (
    SELECT date_bin('15 minutes', greatest(least(coalesce(max(quarter), '-infinity'), clock_timestamp() - interval '2 hours'), clock_timestamp() - interval '30 days'), 'epoch')
    FROM otn.traffic)
GROUP BY 1, 2 ORDER BY 1, 2
ON CONFLICT (page_id, quarter) DO UPDATE SET events = excluded.events;

-- name: forget_traffic!
-- Only the last weeks say what is usual.
DELETE FROM otn.traffic WHERE quarter < clock_timestamp() - interval '30 days';

-- name: silence
-- How long each page has been silent, and how many events came in the same hours of each of the 14 days before the
-- silence began; null: the page was not known yet. A page that never had traffic is not here.
WITH edge AS (
    SELECT p.id AS page_id, t.first_quarter, t.last_quarter + interval '15 minutes' AS since,
           least(clock_timestamp() - t.last_quarter - interval '15 minutes', interval '1 day') AS span
    FROM otn.page p
    CROSS JOIN LATERAL (SELECT min(quarter) AS first_quarter, max(quarter) AS last_quarter
                        FROM otn.traffic WHERE page_id = p.id) t
    WHERE t.last_quarter < clock_timestamp() - interval '1 hour 15 minutes'
)
SELECT edge.page_id, extract(epoch FROM clock_timestamp() - edge.since)::bigint AS silent_s,
       ARRAY(SELECT CASE WHEN edge.first_quarter <= edge.since - make_interval(days => day) THEN (
                 SELECT coalesce(sum(t.events), 0)::bigint FROM otn.traffic t
                 WHERE t.page_id = edge.page_id AND t.quarter >= edge.since - make_interval(days => day)
                   AND t.quarter + interval '15 minutes' <= edge.since - make_interval(days => day) + edge.span) END
             FROM generate_series(1, 14) AS day ORDER BY day) AS usual
FROM edge ORDER BY edge.page_id;

-- name: note_run!
-- Each task of a run that works on a campaign says so.
INSERT INTO otn.campaign_run (campaign_id, dag_id, run_id) VALUES (:campaign_id, :dag_id, :run_id)
ON CONFLICT (campaign_id, dag_id, run_id) DO UPDATE SET seen_at = clock_timestamp();

-- name: idle_campaigns
-- Campaigns that should be sending, where for a while nobody was called, no run came by and nobody decided anything.
SELECT c.id, c.key, p.connection_id AS page
FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
WHERE c.state = 'sending'
  AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.campaign_id = c.id AND r.state = 'sending' AND r.lease_until > clock_timestamp())
  AND greatest(c.started_at,
               (SELECT max(a.at) FROM otn.audit a WHERE a.campaign_id = c.id),
               (SELECT max(u.seen_at) FROM otn.campaign_run u WHERE u.campaign_id = c.id),
               (SELECT max(r.updated_at) FROM otn.recipient r WHERE r.campaign_id = c.id AND r.state IN ('sending', 'unknown')))
      < clock_timestamp() - make_interval(secs => :idle_s)
ORDER BY c.id;

-- name: campaigns_of_files
-- Campaigns under way, and the file that the last of their runs has read.
SELECT c.page_id, p.connection_id AS page, c.key, c.state::text, c.planned_at IS NOT NULL AS planned, f.file
FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
CROSS JOIN LATERAL (SELECT a.detail ->> 'file' AS file FROM otn.audit a
                    WHERE a.campaign_id = c.id AND a.action = 'read file' ORDER BY a.at DESC, a.id DESC LIMIT 1) f
WHERE c.state NOT IN ('finished', 'cancelled') ORDER BY c.id;

-- name: runs_of
-- The runs that may still be at work on it.
SELECT dag_id, run_id FROM otn.campaign_run WHERE campaign_id = :campaign_id ORDER BY dag_id, run_id;

-- name: owed_silences^
-- Whether something stands here that the journal may lack, and whether looks have seen trouble with it for long.
SELECT EXISTS (SELECT FROM otn.silence_mark WHERE owed) AS owed,
       EXISTS (SELECT FROM otn.alarm a WHERE a.kind = :kind AND a.page_id IS NULL AND a.ended_at IS NULL
               AND a.since < clock_timestamp() - make_interval(secs => :long_s)) AS lasts;
