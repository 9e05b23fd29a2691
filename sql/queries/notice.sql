-- Notices: what happened to campaigns, and what people were told of it.

-- name: settle_overtaken!
-- What is no longer so, what a later notice of the campaign says too, and what is a week old is told to nobody.
UPDATE otn.notice n SET settled_at = clock_timestamp() FROM otn.campaign c
WHERE n.settled_at IS NULL AND c.id = n.campaign_id
  AND (c.state::text <> n.kind OR n.at < clock_timestamp() - make_interval(days => :days)
       OR EXISTS (SELECT FROM otn.notice later WHERE later.campaign_id = n.campaign_id AND later.kind = n.kind AND later.id > n.id));

-- name: open_notices
-- With what people were told of it the last time: an end that says the same is not told twice.
SELECT n.id, n.kind, n.at, n.campaign_id, c.key AS campaign, p.connection_id AS page, t.key AS topic, c.send_at,
       (SELECT b.told FROM otn.notice b WHERE b.campaign_id = n.campaign_id AND b.kind = n.kind AND b.told IS NOT NULL
        ORDER BY b.id DESC LIMIT 1) AS told_before,
       f.*
FROM otn.notice n
JOIN otn.campaign c ON c.id = n.campaign_id JOIN otn.page p ON p.id = c.page_id JOIN otn.topic t ON t.id = c.topic_id
CROSS JOIN LATERAL (
    SELECT count(*) AS planned, count(*) FILTER (WHERE r.state = 'sent') AS sent, count(*) FILTER (WHERE r.state = 'refused') AS refused,
           count(*) FILTER (WHERE r.state = 'unknown') AS unknown, count(*) FILTER (WHERE r.state = 'skipped') AS skipped
    FROM otn.recipient r WHERE r.campaign_id = c.id AND n.kind = 'finished') f
WHERE n.settled_at IS NULL ORDER BY n.id LIMIT :most;

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
