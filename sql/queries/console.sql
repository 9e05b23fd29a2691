-- The console's own questions: what its pages show and no command asks.

-- name: campaigns_at_a_glance
-- What is going on, whole, and the latest that ended. Figures by lateral counts: only of the campaigns that are shown.
WITH shown AS (
    (SELECT * FROM otn.campaign WHERE state NOT IN ('finished', 'cancelled') ORDER BY created_at DESC LIMIT 200)
    UNION ALL
    (SELECT * FROM otn.campaign WHERE state IN ('finished', 'cancelled') ORDER BY finished_at DESC LIMIT :ended)
)
SELECT c.id, c.key, p.connection_id AS page, t.key AS topic, c.state::text, c.created_at, c.send_at, c.started_at, c.finished_at,
       f.planned, f.sent, f.refused, f.unknown
FROM shown c
JOIN otn.page p ON p.id = c.page_id
JOIN otn.topic t ON t.id = c.topic_id
CROSS JOIN LATERAL (
    SELECT count(*) AS planned, count(*) FILTER (WHERE r.state = 'sent') AS sent,
           count(*) FILTER (WHERE r.state = 'refused') AS refused, count(*) FILTER (WHERE r.state = 'unknown') AS unknown
    FROM otn.recipient r WHERE r.campaign_id = c.id) f
ORDER BY coalesce(c.finished_at, c.created_at) DESC;

-- name: coming_months
-- The months that a chart of the stock shows: a token lives a year at most, and each month has its place, empty or not.
SELECT to_char(month, 'YYYY-MM') AS month
FROM generate_series(date_trunc('month', now()), date_trunc('month', now()) + interval '12 months', interval '1 month') AS month
ORDER BY month;

-- name: stock_by_month
-- Consents that may still be spent: alive, and of no recipient that holds them.
SELECT t.id AS topic_id, coalesce(t.title, t.key) AS title, p.connection_id AS page,
       to_char(least(k.expires_at, date_trunc('month', now()) + interval '12 months'), 'YYYY-MM') AS month, count(*) AS unspent
FROM otn.token k
JOIN otn.topic t ON t.id = k.topic_id
JOIN otn.page p ON p.id = t.page_id
WHERE k.token_encrypted IS NOT NULL AND k.expires_at > now()
  AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = k.id AND r.holds_token)
GROUP BY 1, 2, 3, 4
ORDER BY t.id;
