-- Profiles: a first name and the like, asked for once in a while, never urgent.

-- name: claim_profiles
-- Who wrote last comes first; whose profile is old comes after those who have none. Taken by writing the time down, so
-- that two who fetch take different people; whoever dies with them gives them back after ten minutes.
WITH gate AS (
    SELECT p.id FROM otn.page p
    WHERE p.id = :page_id AND p.halted_at IS NULL AND coalesce(p.profiles_after, '-infinity') <= clock_timestamp()
), fresh AS MATERIALIZED (
    SELECT s.id, s.profile_at FROM gate JOIN otn.subscriber s ON s.page_id = gate.id
    WHERE s.profile_at IS NULL AND s.erased_at IS NULL AND s.last_interaction_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM otn.suppression x
                      WHERE x.subscriber_id = s.id AND x.topic_id IS NULL AND x.reason IN ('operator', 'erased'))
    ORDER BY s.last_interaction_at DESC LIMIT :most
    FOR NO KEY UPDATE OF s SKIP LOCKED
), old AS MATERIALIZED (
    SELECT s.id, s.profile_at FROM gate JOIN otn.subscriber s ON s.page_id = gate.id
    WHERE s.profile_due_at <= clock_timestamp() AND s.profile_at IS NOT NULL AND s.erased_at IS NULL
      AND NOT EXISTS (SELECT FROM otn.suppression x
                      WHERE x.subscriber_id = s.id AND x.topic_id IS NULL AND x.reason IN ('operator', 'erased'))
    ORDER BY s.profile_due_at LIMIT :most - (SELECT count(*) FROM fresh)
    FOR NO KEY UPDATE OF s SKIP LOCKED
)
UPDATE otn.subscriber s SET profile_at = clock_timestamp(), profile_due_at = clock_timestamp() + interval '10 minutes'
FROM (SELECT * FROM fresh UNION ALL SELECT * FROM old) AS taken
WHERE s.id = taken.id
RETURNING s.id, s.psid, s.profile_at::text AS claimed_at, taken.profile_at::text AS before;

-- name: record_profiles!
-- Only who is still there as claimed: an erasure meanwhile wins. What came is kept, what did not come takes nothing away.
-- Rows are locked as ingest locks them, so that the two never wait in a circle.
WITH answer AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:answers) AS a(
        id bigint, claimed_at timestamptz, first_name text, last_name text, locale text, utc_offset numeric,
        error text, again_s double precision)
), locked AS MATERIALIZED (
    SELECT s.id FROM otn.subscriber s JOIN answer a USING (id) ORDER BY s.page_id, s.psid FOR NO KEY UPDATE OF s
)
UPDATE otn.subscriber s SET
    first_name = coalesce(a.first_name, s.first_name), last_name = coalesce(a.last_name, s.last_name),
    locale = coalesce(a.locale, s.locale), utc_offset = coalesce(a.utc_offset, s.utc_offset),
    profile_error = a.error, profile_due_at = clock_timestamp() + make_interval(secs => a.again_s)
FROM answer a, locked
WHERE s.id = a.id AND locked.id = s.id AND s.erased_at IS NULL AND s.profile_at = a.claimed_at;

-- name: give_back_profiles!
-- The platform braked or refused the page: nothing is known of these people, and they are asked for as if never taken.
WITH claim AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:claims) AS c(id bigint, claimed_at timestamptz, before timestamptz)
), locked AS MATERIALIZED (
    SELECT s.id FROM otn.subscriber s JOIN claim c USING (id) ORDER BY s.page_id, s.psid FOR NO KEY UPDATE OF s
)
UPDATE otn.subscriber s SET profile_at = c.before,
       profile_due_at = CASE WHEN c.before IS NOT NULL THEN clock_timestamp() END
FROM claim c, locked
WHERE s.id = c.id AND locked.id = s.id AND s.erased_at IS NULL AND s.profile_at = c.claimed_at;

-- name: rest_profiles!
-- No profile of this page is asked for before then; a longer rest stands.
UPDATE otn.page SET profiles_after = greatest(profiles_after, clock_timestamp() + make_interval(secs => :seconds))
WHERE id = :page_id;
