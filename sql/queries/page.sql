-- Pages: which connection speaks for which Facebook page.

-- name: insert_page!
-- Whether it was new is read afterwards: two people may register the same page at once.
INSERT INTO otn.page (page_id, connection_id, name) VALUES (:page_id, :connection_id, :name)
ON CONFLICT DO NOTHING;

-- name: pages_like
-- Everything that stands in the way of a registration: the same page, or the same connection.
SELECT id, page_id, connection_id, name, halted_at, halt_reason FROM otn.page
WHERE page_id = :page_id OR connection_id = :connection_id
ORDER BY id;

-- name: rename_page!
-- The name is for people only.
UPDATE otn.page SET name = :name WHERE id = :id AND name IS DISTINCT FROM :name;

-- name: find_page^
-- People name a page by its connection or by its Facebook id; the connection wins.
SELECT id, page_id, connection_id, name, halted_at, halt_reason FROM otn.page
WHERE connection_id = :name OR page_id = :name
ORDER BY connection_id = :name DESC LIMIT 1;

-- name: list_pages
-- All of them, oldest first.
SELECT id, page_id, connection_id, name, halted_at, halt_reason FROM otn.page ORDER BY id;

-- name: lock_pages!
-- In key order, so that two runs that settle the same pages wait for each other in line.
SELECT id FROM otn.page WHERE id = ANY (:ids::integer[]) ORDER BY id FOR NO KEY UPDATE;

-- name: settle_policy
-- The latest word of the platform counts, by its own time: events come late and out of order.
-- A halt with another reason is not ours to lift or to rename.
WITH latest AS (
    SELECT DISTINCT ON (e.page_id) e.page_id, e.detail
    FROM otn.event e
    WHERE e.subscriber_id IS NULL AND e.kind = 'policy' AND e.page_id = ANY (:ids::integer[])
      AND split_part(e.detail, ':', 1) IN ('block', 'unblock')
    ORDER BY e.page_id, e.occurred_at DESC, e.detail LIKE 'block%%' DESC, e.id DESC
), settled AS (
    UPDATE otn.page p SET
        halted_at = CASE WHEN latest.detail LIKE 'block%%' THEN clock_timestamp() END,
        halt_reason = CASE WHEN latest.detail LIKE 'block%%' THEN 'policy_enforcement: ' || latest.detail END
    FROM latest
    WHERE p.id = latest.page_id
      AND CASE WHEN latest.detail LIKE 'block%%' THEN p.halted_at IS NULL
               ELSE p.halt_reason LIKE 'policy_enforcement:%%' END
    RETURNING p.id, p.halt_reason
)
INSERT INTO otn.audit (actor, action, page_id, detail)
SELECT 'platform', CASE WHEN halt_reason IS NULL THEN 'page released' ELSE 'page halted' END, id,
       jsonb_build_object('reason', coalesce(halt_reason, 'policy_enforcement: unblock'))
FROM settled ORDER BY id
RETURNING page_id, action;
