-- The epoch: counted up by each claim, compared with the file outside, halted and confirmed.

-- name: hold^
-- Whoever claims holds the row from here to its commit: claims are counted one after the other.
SELECT number, identity, otn.identity() AS here, filed, halted_at, halt_reason, halt_number FROM otn.epoch FOR NO KEY UPDATE;

-- name: look^
-- The same without holding it.
SELECT number, identity, otn.identity() AS here, filed, halted_at, halt_reason, halt_number FROM otn.epoch;

-- name: advance$
-- In the claim's transaction: a database that has the claim has the number, and the other way round.
UPDATE otn.epoch SET number = number + 1, identity = coalesce(identity, otn.identity()), filed = :filed RETURNING number;

-- name: halt!
-- All sending ends until a person confirms; the first reason stays. How far the file was tells a backup of this moment,
-- restored later, from the database that has stood still since.
UPDATE otn.epoch SET halted_at = clock_timestamp(), halt_reason = :reason, halt_number = greatest(number, :last_call::bigint)
WHERE halted_at IS NULL;

-- name: halted_reason^
-- Why nothing is sent, if nothing is.
SELECT halt_reason FROM otn.epoch WHERE halted_at IS NOT NULL;

-- name: count_doubts^
-- Whom a confirmation would take for perhaps called: everybody who waits, as nobody knows when the backup was made.
SELECT (SELECT count(*) FROM otn.recipient WHERE state IN ('waiting', 'sending')) AS recipients,
       (SELECT count(*) FROM otn.window_message m LEFT JOIN otn.event e ON e.id = m.event_id
        WHERE m.state = 'sending' OR (m.state = 'waiting' AND coalesce(e.occurred_at, m.created_at) < :until)) AS messages;

-- name: campaigns_to_look_at
-- Campaigns that would be halted; and those without a plan, which may have been planned and sent since the backup.
SELECT p.connection_id AS page, c.key, c.state::text, c.planned_at IS NOT NULL AS planned
FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
WHERE c.state IN ('draft', 'awaiting_approval', 'scheduled', 'sending') ORDER BY c.id;

-- name: doubt_recipients$
-- Each gets the intent of a call that nobody knows: a token that is refused as used was then spent by it. They are asked
-- again like everybody in doubt.
WITH doubted AS (
    UPDATE otn.recipient r SET
        state = 'unknown', reason = 'restored', lease_until = NULL, not_before = NULL, updated_at = clock_timestamp(),
        attempt_id = CASE WHEN r.state = 'sending' THEN r.attempt_id ELSE gen_random_uuid() END,
        attempts = r.attempts + CASE WHEN r.state = 'sending' THEN 0 ELSE 1 END,
        unanswered = r.unanswered + CASE WHEN r.state = 'sending' THEN 0 ELSE 1 END
    WHERE r.state IN ('waiting', 'sending')
    RETURNING r.campaign_id, r.subscriber_id, r.attempt_id
), presumed AS (
    INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender)
    SELECT campaign_id, subscriber_id, attempt_id, 'intent', 'restored' FROM doubted
    ON CONFLICT ON CONSTRAINT attempt_step_once DO NOTHING
)
SELECT count(*) FROM doubted;

-- name: doubt_messages$
-- Inside the window a doubt is final. What answers something that came after the halt was never called, and goes on.
WITH doubted AS (
    UPDATE otn.window_message m SET
        state = 'unknown', reason = 'restored', lease_until = NULL, not_before = NULL, updated_at = clock_timestamp(),
        attempt_id = CASE WHEN m.state = 'sending' THEN m.attempt_id ELSE gen_random_uuid() END,
        attempts = m.attempts + CASE WHEN m.state = 'sending' THEN 0 ELSE 1 END,
        called_at = coalesce(m.called_at, clock_timestamp())
    FROM otn.window_message o LEFT JOIN otn.event e ON e.id = o.event_id
    WHERE o.id = m.id AND (m.state = 'sending' OR (m.state = 'waiting' AND coalesce(e.occurred_at, m.created_at) < :until))
    RETURNING m.id, m.attempt_id
), presumed AS (
    INSERT INTO otn.window_attempt (window_message_id, attempt_id, step, sender)
    SELECT id, attempt_id, 'intent', 'restored' FROM doubted
    ON CONFLICT ON CONSTRAINT window_attempt_step_once DO NOTHING
)
SELECT count(*) FROM doubted;

-- name: halt_campaigns$
-- What was sending goes on only when a person triggers it.
WITH halted AS (
    UPDATE otn.campaign SET state = 'halted', halt_reason = :reason WHERE state = 'sending' RETURNING id, page_id
), told AS (
    INSERT INTO otn.audit (actor, action, page_id, campaign_id, detail)
    SELECT :actor, 'halted', page_id, id, jsonb_build_object('reason', :reason::text) FROM halted
)
SELECT count(*) FROM halted;

-- name: adopt!
-- This database is the true one from now on.
UPDATE otn.epoch SET number = :number, identity = otn.identity(), filed = :filed, halted_at = NULL, halt_reason = NULL,
       halt_number = NULL, restored_at = greatest(restored_at, :restored_at);

-- name: now$
-- Calls of a database that was not halted yet may be missing up to this moment.
SELECT clock_timestamp();
