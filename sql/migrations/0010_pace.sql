-- Pace: a part of it is kept for answers, a day's quota of calls is counted, and a canary may be a list of staff.

ALTER TABLE otn.pace
    ADD COLUMN answers_at timestamptz NOT NULL DEFAULT 'epoch',           -- the schedule kept for answers, beside next_at
    ADD COLUMN quota      integer,                                        -- calls that the platform allows in 24 h; null: not counted
    ADD COLUMN quota_at   timestamptz,                                    -- when it was last reckoned from the people
    ADD CONSTRAINT pace_quota_is_positive CHECK (quota > 0),
    ADD CONSTRAINT pace_quota_has_time CHECK (quota IS NULL OR quota_at IS NOT NULL);

-- Calls of a page by five minutes: what slides out of the last 24 hours is free again.
CREATE TABLE otn.call_count (
    page_id        integer NOT NULL REFERENCES otn.page,
    slot           timestamptz NOT NULL,                                  -- its beginning
    calls          integer NOT NULL,
    CONSTRAINT call_count_once PRIMARY KEY (page_id, slot),
    CONSTRAINT call_count_not_negative CHECK (calls >= 0)
) WITH (fillfactor = 50);

-- People who come first, beside or instead of a number of them.
ALTER TABLE otn.campaign
    ADD COLUMN canary_labels text[] NOT NULL DEFAULT '{}';

-- What the last 24 hours have used, and when so much of it has slid out that less than a share is used again.
-- A slot counts until its last call is a day old.
CREATE FUNCTION otn.quota(of_page integer, share numeric)
RETURNS TABLE (quota integer, used bigint, free_at timestamptz)
LANGUAGE sql STABLE AS $$
    WITH slid AS (
        SELECT c.slot, sum(c.calls) OVER (ORDER BY c.slot DESC) AS since FROM otn.call_count c
        WHERE c.page_id = of_page AND c.slot > clock_timestamp() - interval '24 hours 5 minutes'
    )
    SELECT p.quota, coalesce((SELECT max(slid.since) FROM slid), 0)::bigint,
           (SELECT max(slid.slot) FROM slid WHERE slid.since >= greatest(floor(p.quota * share), 1)) + interval '24 hours 5 minutes'
    FROM otn.pace p WHERE p.page_id = of_page
$$;
