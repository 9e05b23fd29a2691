-- Messages inside the 24 h window: claimed before the one call that each gets, recorded after it.

-- name: pages_due
-- Pages with answers that may be sent now; counted up to a bound, as it is asked several times a second.
SELECT p.id, p.page_id AS facebook_page_id, p.connection_id, due.answers
FROM otn.page p
CROSS JOIN LATERAL (
    SELECT count(*) AS answers FROM (
        SELECT FROM otn.window_message m
        WHERE m.page_id = p.id AND m.state = 'waiting' AND m.cause <> 'ask'
          AND (m.not_before IS NULL OR m.not_before <= clock_timestamp())
        LIMIT :most) AS one) AS due
WHERE p.halted_at IS NULL AND due.answers > 0 AND NOT EXISTS (SELECT FROM otn.epoch WHERE halted_at IS NOT NULL)
ORDER BY p.id;

-- name: due^
-- What of a page may be sent now, up to a bound, and how soon the first may that was told to wait.
-- Nothing while the page is halted, or all sending.
SELECT (SELECT count(*) FROM (
           SELECT FROM otn.window_message m
           WHERE m.page_id = p.id AND m.state = 'waiting' AND m.cause <> 'ask'
             AND (m.not_before IS NULL OR m.not_before <= clock_timestamp()) LIMIT :most) AS one) AS answers,
       (SELECT count(*) FROM (
           SELECT FROM otn.window_message m
           WHERE m.page_id = p.id AND m.state = 'waiting' AND m.cause = 'ask'
             AND (m.not_before IS NULL OR m.not_before <= clock_timestamp()) LIMIT :most) AS one) AS asks,
       (SELECT extract(epoch FROM min(m.not_before) - clock_timestamp())::float FROM otn.window_message m
        WHERE m.page_id = p.id AND m.state = 'waiting' AND m.not_before > clock_timestamp()) AS wait_s
FROM otn.page p
WHERE p.id = :page_id AND p.halted_at IS NULL AND NOT EXISTS (SELECT FROM otn.epoch WHERE halted_at IS NOT NULL);

-- name: hold
-- What is due, with its people: two senders never judge two messages of one person at once. Whom another one holds, or an
-- ingest, is passed over until the next look.
SELECT m.id
FROM otn.window_message m
JOIN otn.subscriber p ON p.id = m.subscriber_id
WHERE m.page_id = :page_id AND m.state = 'waiting' AND (m.cause = 'ask') = :asks
  AND (m.not_before IS NULL OR m.not_before <= clock_timestamp())
ORDER BY m.id LIMIT :most
FOR NO KEY UPDATE OF m, p SKIP LOCKED;

-- name: claim
-- In one statement: the rows held, a fresh attempt id, the lease, the committed intent; and at this last moment whoever
-- may not be written to any more is skipped. The person said stop after what is answered: silenced. A confirmation of the
-- stop itself is not. What came before a restored backup was put to use may have been answered already. Who got another card of the kind since, or holds enough tokens by now, gets no second one; of two
-- cards of a kind in one claim the second waits to be judged by what became of the first.
WITH gate AS (
    SELECT p.id, e.restored_at FROM otn.page p CROSS JOIN otn.epoch e WHERE p.id = :page_id AND p.halted_at IS NULL
), due AS MATERIALIZED (
    SELECT m.id,
           m.card AND row_number() OVER (PARTITION BY m.subscriber_id, m.card, m.topic_id, m.ref ORDER BY m.id) > 1 AS twin,
           CASE WHEN p.erased_at IS NOT NULL THEN 'erased'
                WHEN m.not_after <= clock_timestamp() THEN 'window_closed'
                WHEN m.cause <> 'ask' AND coalesce(e.occurred_at, m.created_at) < gate.restored_at THEN 'restored'
                WHEN m.cause <> 'stop' AND otn.silenced(m.subscriber_id, m.topic_id,
                     CASE WHEN m.cause NOT IN ('ask', 'test') THEN coalesce(e.occurred_at, m.created_at) ELSE (
                         SELECT coalesce(max(t.opted_in_at), '-infinity') FROM otn.token t
                         WHERE t.subscriber_id = m.subscriber_id AND t.topic_id = m.topic_id) END) THEN 'suppressed'
                WHEN m.card AND otn.unspent(m.subscriber_id, m.topic_id, m.ref) >= coalesce(a.stock, r.stock, 1) THEN 'has_token'
                WHEN m.card AND EXISTS (
                    SELECT FROM otn.window_message o
                    WHERE o.subscriber_id = m.subscriber_id AND o.topic_id = m.topic_id AND o.card AND o.id <> m.id
                      AND (m.cause = 'ask' OR o.ref IS NOT DISTINCT FROM m.ref)
                      AND o.state IN ('sending', 'sent', 'unknown') AND o.called_at >= m.created_at) THEN 'asked_already'
                END AS skip
    FROM gate
    JOIN otn.window_message m ON m.page_id = gate.id
    JOIN otn.subscriber p ON p.id = m.subscriber_id
    LEFT JOIN otn.event e ON e.id = m.event_id
    LEFT JOIN otn.ask a ON a.id = m.ask_id
    LEFT JOIN otn.rule r ON r.id = m.rule_id
    WHERE m.id = ANY (:ids::bigint[]) AND m.state = 'waiting'
), skipped AS (
    UPDATE otn.window_message m SET state = 'skipped', reason = due.skip, not_before = NULL, updated_at = clock_timestamp()
    FROM due WHERE m.id = due.id AND due.skip IS NOT NULL
    RETURNING m.id
), claimed AS (
    UPDATE otn.window_message m
    SET state = 'sending', attempt_id = gen_random_uuid(), attempts = m.attempts + 1, called_at = clock_timestamp(),
        lease_until = clock_timestamp() + make_interval(secs => :lease_s), not_before = NULL, reason = NULL,
        error_code = NULL, error_subcode = NULL, updated_at = clock_timestamp()
    FROM due WHERE m.id = due.id AND due.skip IS NULL AND NOT due.twin
    RETURNING m.id, m.attempt_id, m.attempts, m.subscriber_id, m.card, m.message, m.ref
), intended AS (
    INSERT INTO otn.window_attempt (window_message_id, attempt_id, step, sender)
    SELECT id, attempt_id, 'intent', :sender FROM claimed
)
SELECT c.id, c.attempt_id::text, c.attempts, p.psid, c.card, c.message,
       jsonb_strip_nulls(p.attributes || jsonb_build_object(
           'first_name', p.first_name, 'last_name', p.last_name, 'locale', p.locale, 'ref', c.ref)) AS variables
FROM claimed c JOIN otn.subscriber p ON p.id = c.subscriber_id
UNION ALL
SELECT id, NULL, NULL, NULL, NULL, NULL, NULL FROM skipped;

-- name: record
-- What came back, one statement a call. The log comes first: an answer that is logged already changes nothing twice.
-- An acceptance always leads to sent. Any other answer counts only while the row still belongs to its attempt: once the
-- lease was lost the row stays unknown, and nobody ever calls it again.
WITH answer AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:answers) AS a(
        id bigint, attempt_id uuid, outcome text, message_id text, http_status smallint, error_code integer,
        error_subcode integer, unreachable boolean, skip boolean, called boolean, reason text, wait_s double precision,
        age_s double precision)
), fresh AS (
    INSERT INTO otn.window_attempt (window_message_id, attempt_id, step, sender, outcome, http_status, error_code, error_subcode, message_id, reason)
    SELECT id, attempt_id, 'answer', :sender, outcome, http_status, error_code, error_subcode, message_id, reason
    FROM answer ORDER BY id
    ON CONFLICT ON CONSTRAINT window_attempt_step_once DO NOTHING
    RETURNING window_message_id AS id, attempt_id
), decided AS (
    SELECT a.*,
           CASE WHEN a.outcome = 'sent' THEN 'sent'
                WHEN m.attempt_id <> a.attempt_id OR m.state <> 'sending' THEN NULL
                WHEN a.outcome IN ('unknown', 'refused') THEN a.outcome
                WHEN a.skip THEN 'skipped'
                ELSE 'waiting' END::otn.window_state AS becomes
    FROM fresh JOIN answer a USING (id, attempt_id) JOIN otn.window_message m USING (id)
    ORDER BY id
    FOR UPDATE OF m
), settled AS (
    UPDATE otn.window_message m SET
        state = d.becomes,
        lease_until = NULL,
        attempts = m.attempts - CASE WHEN d.called THEN 0 ELSE 1 END,
        called_at = CASE WHEN d.becomes NOT IN ('waiting', 'skipped') THEN m.called_at END,
        evidence = CASE WHEN d.becomes = 'sent' THEN 'answer' END,
        message_id = CASE WHEN d.becomes = 'sent' THEN d.message_id END,
        sent_at = CASE WHEN d.becomes = 'sent' THEN clock_timestamp() - make_interval(secs => d.age_s) END,
        error_code = CASE WHEN d.becomes <> 'sent' THEN d.error_code END,
        error_subcode = CASE WHEN d.becomes <> 'sent' THEN d.error_subcode END,
        reason = CASE WHEN d.becomes NOT IN ('sent', 'refused') THEN coalesce(d.reason, 'no_answer') END,
        not_before = CASE WHEN d.becomes = 'waiting' THEN clock_timestamp() + make_interval(
            secs => greatest(coalesce(d.wait_s, 0), least(power(2, mod(greatest(m.attempts - 1, 0), 8)), 60))) END,
        updated_at = clock_timestamp()
    FROM decided d
    WHERE m.id = d.id AND d.becomes IS NOT NULL AND m.state <> 'sent'
    RETURNING m.subscriber_id, m.state, d.unreachable
), lost AS (
    INSERT INTO otn.suppression (subscriber_id, reason, actor)
    SELECT DISTINCT subscriber_id, 'unreachable', 'platform' FROM settled WHERE state = 'refused' AND unreachable ORDER BY subscriber_id
    ON CONFLICT (subscriber_id, coalesce(topic_id, 0), reason) DO UPDATE SET since = clock_timestamp()
), found AS (
    DELETE FROM otn.suppression p USING settled
    WHERE settled.state = 'sent' AND p.subscriber_id = settled.subscriber_id AND p.reason = 'unreachable'
)
SELECT state::text, count(*) AS rows FROM settled GROUP BY state;

-- name: expire_leases!
-- Its sender died, hangs, or lost the database: nobody knows what became of the call, and nobody tries it again.
UPDATE otn.window_message SET state = 'unknown', lease_until = NULL, reason = 'lease_lost', updated_at = clock_timestamp()
WHERE state = 'sending' AND lease_until <= clock_timestamp();

-- name: close_windows!
-- What waited until its window closed, on a halted page too: nobody will call it any more.
UPDATE otn.window_message SET state = 'skipped', reason = 'window_closed', not_before = NULL, updated_at = clock_timestamp()
WHERE state = 'waiting' AND not_after <= clock_timestamp() AND page_id = :page_id;

-- name: stuck
-- Pages whose messages wait although they may not be sent: a person must act.
SELECT p.id, p.connection_id, coalesce(p.halt_reason, e.halt_reason) AS halt_reason, count(*) AS waiting
FROM otn.page p CROSS JOIN otn.epoch e JOIN otn.window_message m ON m.page_id = p.id AND m.state = 'waiting'
WHERE (p.halted_at IS NOT NULL OR e.halted_at IS NOT NULL) AND (:page_id::integer IS NULL OR p.id = :page_id)
GROUP BY p.id, e.halt_reason ORDER BY p.id;
