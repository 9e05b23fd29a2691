-- Pages: which connection speaks for which Facebook page.

-- name: insert_page!
-- Whether it was new is read afterwards: two people may register the same page at once.
INSERT INTO otn.page (page_id, connection_id, name) VALUES (:page_id, :connection_id, :name)
ON CONFLICT DO NOTHING;

-- name: pages_like
-- Everything that stands in the way of a registration: the same page, or the same connection.
SELECT id, page_id, connection_id, name, halted_at, halt_reason, halt_held, blocked_at FROM otn.page
WHERE page_id = :page_id OR connection_id = :connection_id
ORDER BY id;

-- name: rename_page!
-- The name is for people only.
UPDATE otn.page SET name = :name WHERE id = :id AND name IS DISTINCT FROM :name;

-- name: find_page^
-- People name a page by its connection or by its Facebook id; the connection wins.
SELECT id, page_id, connection_id, name, halted_at, halt_reason, halt_held, blocked_at FROM otn.page
WHERE connection_id = :name OR page_id = :name
ORDER BY connection_id = :name DESC LIMIT 1;

-- name: list_pages
-- All of them, oldest first.
SELECT id, page_id, connection_id, name, halted_at, halt_reason, halt_held, blocked_at FROM otn.page ORDER BY id;

-- name: lock_pages!
-- In key order, so that two runs that settle the same pages wait for each other in line.
SELECT id FROM otn.page WHERE id = ANY (:ids::integer[]) ORDER BY id FOR NO KEY UPDATE;

-- name: settle_policy
-- The latest word of the platform counts, by its own time: events come late and out of order. Each word is heeded once,
-- so that a block does not come back after a person resumed. An unblock alone sends nothing: a person must agree.
WITH latest AS (
    SELECT DISTINCT ON (e.page_id) e.page_id, e.id, e.detail, e.detail LIKE 'block%%' AS block
    FROM otn.event e
    WHERE e.subscriber_id IS NULL AND e.kind = 'policy' AND e.page_id = ANY (:ids::integer[])
      AND split_part(e.detail, ':', 1) IN ('block', 'unblock')
    ORDER BY e.page_id, e.occurred_at DESC, e.detail LIKE 'block%%' DESC, e.id DESC
), news AS (
    SELECT latest.*, p.halt_reason AS before, p.blocked_at AS blocked_before
    FROM latest JOIN otn.page p ON p.id = latest.page_id WHERE p.policy_event_id IS DISTINCT FROM latest.id
), settled AS (
    UPDATE otn.page p SET
        policy_event_id = news.id,
        blocked_at = CASE WHEN news.block THEN coalesce(p.blocked_at, clock_timestamp()) END,
        halted_at = CASE WHEN news.block THEN coalesce(p.halted_at, clock_timestamp()) ELSE p.halted_at END,
        halt_held = p.halt_held OR news.block,
        -- What a person wrote stays; what the platform's block wrote is brought up to date.
        halt_reason = CASE
            WHEN p.halt_held AND p.halt_reason NOT LIKE 'policy_enforcement:%%' THEN p.halt_reason
            WHEN news.block THEN 'policy_enforcement: ' || news.detail
            WHEN p.halt_held THEN 'policy_enforcement: unblocked, waits for a person'
            ELSE p.halt_reason END
    FROM news WHERE p.id = news.page_id
    RETURNING p.id, p.halt_reason, news.block, news.detail, news.before, news.blocked_before
)
INSERT INTO otn.audit (actor, action, page_id, detail)
SELECT 'platform', CASE WHEN block THEN 'page halted' ELSE 'page unblocked' END, id,
       jsonb_build_object('reason', 'policy_enforcement: ' || detail, 'before', before)
FROM settled WHERE block OR blocked_before IS NOT NULL ORDER BY id
RETURNING page_id, action;

-- name: halt_page!
-- A person halts it: whatever stopped it before, from now on only a person lets it go.
UPDATE otn.page SET halted_at = coalesce(halted_at, clock_timestamp()), halt_held = true, halt_reason = :reason WHERE id = :id;

-- name: resume_page!
-- A person agrees: what the platform said last is heeded, and a next block halts anew.
UPDATE otn.page SET halted_at = NULL, halt_reason = NULL, halt_held = false, blocked_at = NULL WHERE id = :id;

-- name: held_page^
-- Why a campaign that is triggered again does not set its page free.
SELECT connection_id, halt_reason FROM otn.page WHERE id = :id AND halt_held;

-- name: halted_campaigns
-- What a person may want to trigger again once the page is free.
SELECT key FROM otn.campaign WHERE page_id = :id AND state IN ('halted', 'paused', 'interrupted') ORDER BY id;

-- name: audit_page!
-- Who did what to a page.
INSERT INTO otn.audit (actor, action, page_id, detail) VALUES (:actor, :action, :id, :detail);

-- name: unheeded_warnings
-- Pages that the platform warned, and nothing was done about it yet; the latest warning stands for all before it.
SELECT p.id AS page_id, w.id AS event_id, w.detail
FROM otn.page p
CROSS JOIN LATERAL (
    SELECT e.id, e.detail FROM otn.event e
    WHERE e.page_id = p.id AND e.subscriber_id IS NULL AND e.kind = 'policy' AND split_part(e.detail, ':', 1) = 'warning'
    ORDER BY e.occurred_at DESC, e.id DESC LIMIT 1) w
WHERE p.warning_event_id IS DISTINCT FROM w.id ORDER BY p.id;

-- name: sending_campaigns
-- Locked before the page's row, in key order, as everybody does.
SELECT id, key, page_id, state::text FROM otn.campaign WHERE page_id = :page_id AND state = 'sending' ORDER BY id FOR UPDATE;

-- name: heed_warning!
-- Once: two that heed the same warning wait for each other here, and the second one changes nothing.
UPDATE otn.page SET warning_event_id = :event_id WHERE id = :page_id AND warning_event_id IS DISTINCT FROM :event_id;
