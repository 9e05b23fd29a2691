-- Metrics: figures for Airflow's stats. Those of each minute read small tables and partial indexes; those of each quarter
-- of an hour walk over recipients and consents.

-- name: give_up_after!
-- Figures are not worth a task that hangs.
SELECT set_config('statement_timeout', :ms::text, true);

-- name: moment$
-- When it was measured, in seconds since 1970.
SELECT extract(epoch FROM clock_timestamp())::bigint;

-- name: pages
-- How far each page's schedule is booked, its calls of the last whole five minutes, and those of a day.
SELECT p.id, p.page_id, p.connection_id, p.halted_at IS NOT NULL AS halted,
       coalesce(greatest(extract(epoch FROM c.next_at - clock_timestamp()), 0), 0)::float AS booked_s,
       coalesce((SELECT n.calls FROM otn.call_count n
                 WHERE n.page_id = p.id AND n.slot = date_bin('5 minutes', clock_timestamp(), 'epoch') - interval '5 minutes'), 0) AS lately,
       coalesce(q.used, 0) AS used, q.quota
FROM otn.page p
LEFT JOIN otn.pace c ON c.page_id = p.id
LEFT JOIN LATERAL otn.quota(p.id, 1) q ON true
ORDER BY p.id;

-- name: topics
-- What people made topics: a payload that nobody registered may be one person's.
SELECT id, page_id, key FROM otn.topic WHERE registered_at IS NOT NULL ORDER BY id;

-- name: campaigns
-- All of them by state; late: not begun, longer than it allows after the moment it was to begin.
SELECT page_id, state::text, count(*) AS campaigns,
       count(*) FILTER (WHERE state IN ('draft', 'awaiting_approval', 'scheduled') AND send_at < clock_timestamp() - late_after) AS late
FROM otn.campaign GROUP BY page_id, state;

-- name: alarms
-- Open ones; and those that ended lately, or their last figure would stand for ever.
SELECT page_id, kind, count(*) FILTER (WHERE ended_at IS NULL AND level = 'warn') AS warn,
       count(*) FILTER (WHERE ended_at IS NULL AND level = 'alarm') AS alarm
FROM otn.alarm WHERE ended_at IS NULL OR ended_at > clock_timestamp() - interval '1 day' GROUP BY page_id, kind;

-- name: recipients
-- What became of the people of each campaign that is under way or ended within a day: one walk over them.
SELECT c.page_id, c.topic_id, r.state::text, CASE WHEN r.state = 'refused' THEN r.error_code END AS code,
       CASE WHEN r.state = 'refused' THEN r.error_subcode END AS subcode, count(*) AS people
FROM otn.campaign c JOIN otn.recipient r ON r.campaign_id = c.id
WHERE c.finished_at IS NULL OR c.finished_at > clock_timestamp() - interval '1 day'
GROUP BY 1, 2, 3, 4, 5;

-- name: stock
-- Consents that no campaign holds; dying: of those, what ends within so many days and could still be spent.
SELECT k.page_id, t.topic_id, count(*) AS unspent,
       count(*) FILTER (WHERE t.expires_at < clock_timestamp() + make_interval(days => :days)
                          AND NOT otn.silenced(t.subscriber_id, t.topic_id, t.opted_in_at)) AS dying
FROM otn.token t JOIN otn.topic k ON k.id = t.topic_id
WHERE t.token_encrypted IS NOT NULL AND t.expires_at > clock_timestamp()
  AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = t.id AND r.holds_token)
GROUP BY 1, 2;
