-- Notices: what happened to campaigns, and what people were told of it.

-- name: settle_overtaken!
-- What is no longer so, what a later notice of the campaign says too, and what is a week old is told to nobody.
UPDATE otn.notice n SET settled_at = clock_timestamp() FROM otn.campaign c
WHERE n.settled_at IS NULL AND c.id = n.campaign_id
  AND (c.state::text <> n.kind OR n.at < clock_timestamp() - make_interval(days => :days)
       OR EXISTS (SELECT FROM otn.notice later WHERE later.campaign_id = n.campaign_id AND later.kind = n.kind AND later.id > n.id));

-- name: claim_notices
-- With what people were told of it the last time: an end that says the same is not told twice. Two DAGs tell, perhaps at once:
-- whoever dies with a claim has it told minutes later.
WITH mine AS (
    SELECT n.id FROM otn.notice n
    WHERE n.settled_at IS NULL AND (n.claimed_until IS NULL OR n.claimed_until <= clock_timestamp())
    ORDER BY n.id LIMIT :most FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE otn.notice n SET claimed_until = clock_timestamp() + make_interval(secs => :claim_s) FROM mine WHERE n.id = mine.id
    RETURNING n.id, n.kind, n.at, n.campaign_id
)
SELECT n.id, n.kind, n.at, n.campaign_id, c.key AS campaign, p.connection_id AS page, c.send_at,
       (SELECT b.told FROM otn.notice b WHERE b.campaign_id = n.campaign_id AND b.kind = n.kind AND b.told IS NOT NULL
        ORDER BY b.id DESC LIMIT 1) AS told_before,
       f.sent, f.refused, f.unknown, f.skipped
FROM claimed n
JOIN otn.campaign c ON c.id = n.campaign_id JOIN otn.page p ON p.id = c.page_id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE r.state = 'sent') AS sent, count(*) FILTER (WHERE r.state = 'refused') AS refused,
           count(*) FILTER (WHERE r.state = 'unknown') AS unknown, count(*) FILTER (WHERE r.state = 'skipped') AS skipped
    FROM otn.recipient r WHERE r.campaign_id = c.id AND n.kind = 'finished') f
ORDER BY n.id;

-- name: release_notices!
-- Nobody could be told.
UPDATE otn.notice SET claimed_until = NULL WHERE id = ANY (:ids::bigint[]) AND settled_at IS NULL;

-- name: settle_notices!
-- After the notifier returned.
UPDATE otn.notice n SET settled_at = clock_timestamp(), told = s.told
FROM unnest(:ids::bigint[], :told::text[]) AS s (id, told) WHERE n.id = s.id;

-- name: forget_notices!
-- History has its end too.
DELETE FROM otn.notice WHERE settled_at < clock_timestamp() - make_interval(days => :days);

-- name: late_campaigns
-- Whose moment has passed by more than they allow, and that have not begun.
SELECT c.page_id, p.connection_id AS page, c.key, c.state::text, c.send_at
FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
WHERE c.state IN ('awaiting_approval', 'scheduled') AND c.send_at + c.late_after < clock_timestamp() ORDER BY c.id;

-- name: count_open$
-- What nobody was told of yet.
SELECT count(*) FROM otn.notice WHERE settled_at IS NULL;
