-- Pace: a virtual schedule per page (GCRA), shared by every worker and by asking, with a part of it kept for answers;
-- and the calls of the last 24 hours.

-- name: add_page!
-- A page has exactly one schedule.
INSERT INTO otn.pace (page_id) VALUES (:page_id) ON CONFLICT DO NOTHING;

-- name: take^
-- Reserves the next stretch of the schedule; answers how many seconds from now it starts (not below 0), and for how many
-- messages. An answer that would queue behind a broadcast takes its place on the part that is kept for answers instead.
-- Reserved calls are counted at once, so that whoever looks next finds them used. Senders that looked at the same moment
-- may pass the end of a quota, by a slice each; campaigns stop at nine tenths of it.
WITH held AS MATERIALIZED (
    SELECT page_id, next_at, answers_at, clock_timestamp() AS now FROM otn.pace WHERE page_id = :page_id FOR UPDATE
), chosen AS MATERIALIZED (
    SELECT page_id, greatest(next_at, now) AS common_at, greatest(answers_at, now) AS kept_at,
           :may_use_kept::boolean AND greatest(answers_at, now) + make_interval(secs => :patience_s) < next_at AS kept
    FROM held
), booked AS (
    UPDATE otn.pace p SET
        next_at = CASE WHEN kept THEN p.next_at ELSE common_at + make_interval(secs => :messages::integer * :common_s::float8) END,
        answers_at = CASE WHEN kept THEN kept_at + make_interval(secs => least(:messages::integer, :kept_most) * :kept_s::float8) ELSE p.answers_at END
    FROM chosen WHERE p.page_id = chosen.page_id
), counted AS (
    INSERT INTO otn.call_count AS c (page_id, slot, calls)
    SELECT page_id, date_bin('5 minutes', clock_timestamp(), 'epoch'), CASE WHEN kept THEN least(:messages::integer, :kept_most) ELSE :messages END
    FROM chosen
    ON CONFLICT (page_id, slot) DO UPDATE SET calls = c.calls + excluded.calls
)
SELECT greatest(extract(epoch FROM CASE WHEN kept THEN kept_at ELSE common_at END - clock_timestamp()), 0)::float AS starts_in_s,
       CASE WHEN kept THEN least(:messages::integer, :kept_most) ELSE :messages END AS messages
FROM chosen;

-- name: take_unpaced^
-- Without a pace only a silence that the platform asked for is kept; the calls are counted all the same.
WITH counted AS (
    INSERT INTO otn.call_count AS c (page_id, slot, calls)
    VALUES (:page_id, date_bin('5 minutes', clock_timestamp(), 'epoch'), :messages)
    ON CONFLICT (page_id, slot) DO UPDATE SET calls = c.calls + excluded.calls
)
SELECT greatest(extract(epoch FROM next_at - clock_timestamp()), 0)::float AS starts_in_s, :messages::integer AS messages
FROM otn.pace WHERE page_id = :page_id;

-- name: lengthen!
-- What was taken turned out to weigh more than it was booked for: media.
UPDATE otn.pace SET next_at = greatest(next_at, clock_timestamp()) + make_interval(secs => :seconds) WHERE page_id = :page_id;

-- name: give_back!
-- Permits that found nobody to call are no calls. A slot that has ended meanwhile keeps them: that errs on the safe side.
UPDATE otn.call_count SET calls = greatest(calls - :messages, 0)
WHERE page_id = :page_id AND slot = date_bin('5 minutes', clock_timestamp(), 'epoch');

-- name: peek^
-- How far the schedule is filled already, how long until the day's quota has room, and for how many calls it has, without
-- taking anything.
SELECT greatest(extract(epoch FROM next_at - clock_timestamp()), 0)::float AS common_s,
       greatest(extract(epoch FROM least(next_at, answers_at) - clock_timestamp()), 0)::float AS answers_s,
       greatest(extract(epoch FROM q.free_at - clock_timestamp()), 0)::float AS quota_s,
       CASE WHEN q.quota IS NOT NULL THEN greatest(greatest(floor(q.quota * :share::numeric), 1) - q.used, 0)::integer END AS room,
       coalesce(p.quota_at < clock_timestamp() - CASE WHEN p.quota IS NULL THEN interval '1 minute' ELSE make_interval(secs => :age_s) END, true) AS old
FROM otn.pace p LEFT JOIN LATERAL otn.quota(p.page_id, :share) q ON q.quota IS NOT NULL
WHERE p.page_id = :page_id;

-- name: hold_back!
-- The platform asked for silence: nobody starts before it is over.
UPDATE otn.pace SET next_at = greatest(next_at, clock_timestamp() + make_interval(secs => :seconds)),
       answers_at = greatest(answers_at, clock_timestamp() + make_interval(secs => :seconds))
WHERE page_id = :page_id;

-- name: claim_reckoning^
-- Whoever finds the quota old reckons it anew; the others go on with the old one meanwhile. One that is not there a minute
-- later was left undone, by a process that died or by a database that was away.
UPDATE otn.pace SET quota_at = clock_timestamp()
WHERE page_id = :page_id AND coalesce(quota_at < clock_timestamp() - CASE WHEN quota IS NULL THEN interval '1 minute' ELSE make_interval(secs => :age_s) END, true)
RETURNING page_id;

-- name: reckon_quota!
-- So many calls for each person whom the page can message, or could within the last day: a window that is open, a consent
-- that is unspent, a message that spent one just now. Old slots go.
WITH gone AS (
    DELETE FROM otn.call_count WHERE page_id = :page_id AND slot < clock_timestamp() - interval '2 days'
)
UPDATE otn.pace SET quota = greatest(least(:calls_per_person::numeric * (
    SELECT count(*) FROM (
        SELECT s.id FROM otn.subscriber s
        WHERE s.page_id = :page_id AND s.last_interaction_at > clock_timestamp() - interval '24 hours'
        UNION
        SELECT t.subscriber_id FROM otn.token t JOIN otn.topic k ON k.id = t.topic_id
        LEFT JOIN otn.recipient r ON r.token_id = t.id AND r.holds_token
        WHERE k.page_id = :page_id AND t.token_encrypted IS NOT NULL AND t.expires_at > clock_timestamp()
          AND (r.token_id IS NULL OR r.state <> 'sent' OR r.sent_at > clock_timestamp() - interval '24 hours')
    ) AS people), 2000000000), 1)::integer
WHERE page_id = :page_id;

-- name: drop_quota!
-- The page's connection wants none.
UPDATE otn.pace SET quota = NULL WHERE page_id = :page_id AND quota IS NOT NULL;

-- name: quota^
-- For people: what is used of the day's calls, and when campaigns may go on.
SELECT quota, used, free_at FROM otn.quota(:page_id, :share);
