-- Pace: a virtual schedule per page (GCRA), shared by every worker and by asking.

-- name: add_page!
-- A page has exactly one schedule.
INSERT INTO otn.pace (page_id) VALUES (:page_id) ON CONFLICT DO NOTHING;

-- name: take^
-- Reserves the next stretch of the schedule; answers how many seconds from now it starts (not below 0).
UPDATE otn.pace SET next_at = greatest(next_at, clock_timestamp()) + make_interval(secs => :seconds)
WHERE page_id = :page_id
RETURNING greatest(extract(epoch FROM next_at - make_interval(secs => :seconds) - clock_timestamp()), 0)::float AS starts_in_s;

-- name: peek^
-- How far the schedule is filled already, without taking anything.
SELECT greatest(extract(epoch FROM next_at - clock_timestamp()), 0)::float AS starts_in_s FROM otn.pace WHERE page_id = :page_id;

-- name: hold_back!
-- The platform asked for silence: nobody starts before it is over.
UPDATE otn.pace SET next_at = greatest(next_at, clock_timestamp() + make_interval(secs => :seconds)) WHERE page_id = :page_id;
