-- Recipients: claimed before a call, recorded after it, asked again when nobody knows.
-- Of a campaign that was planned a moment ago Postgres believes that it has nobody, until somebody counts again. Rows of a slice
-- are therefore looked up by a campaign_id that stands beside them: by a constant Postgres would walk all of the campaign's rows
-- for each of the slice.

-- name: claim
-- In one statement: the rows, a fresh attempt id, the lease, the committed intent. Whoever was suppressed or whose token
-- ended since planning is skipped here, at the last moment. A paused, halted or cancelled campaign yields no rows.
-- The silence is otn.silenced written out: Postgres would call the function row by row.
-- The walk goes on behind the person whom it reached: from the chunk's beginning it would meet everybody who is done, once
-- for each slice, as long as the index holds their entries.
WITH gate AS (
    SELECT c.id FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
    WHERE c.id = :campaign_id AND c.state = 'sending' AND p.halted_at IS NULL
), due AS MATERIALIZED (
    SELECT r.campaign_id, r.subscriber_id, t.token_encrypted,
           CASE WHEN EXISTS (SELECT FROM otn.suppression s
                             WHERE s.subscriber_id = r.subscriber_id AND (s.topic_id IS NULL OR s.topic_id = t.topic_id)
                               AND (s.reason IN ('operator', 'erased') OR (s.reason = 'stop_word' AND s.since >= t.opted_in_at)))
                THEN 'suppressed'
                WHEN t.token_encrypted IS NULL OR t.expires_at <= clock_timestamp() THEN (
                    SELECT CASE WHEN p.erased_at IS NULL THEN 'token_expired' ELSE 'erased' END
                    FROM otn.subscriber p WHERE p.id = r.subscriber_id) END AS skip
    FROM otn.recipient r
    JOIN otn.token t ON t.id = r.token_id
    WHERE r.campaign_id = (SELECT id FROM gate) AND r.chunk = :chunk AND r.state = 'waiting' AND r.subscriber_id > :after AND (r.not_before IS NULL OR r.not_before <= clock_timestamp())
    ORDER BY r.subscriber_id LIMIT :most
    FOR UPDATE OF r SKIP LOCKED
), skipped AS (
    UPDATE otn.recipient r SET state = 'skipped', reason = due.skip, not_before = NULL, updated_at = clock_timestamp()
    FROM due WHERE r.campaign_id = due.campaign_id AND r.subscriber_id = due.subscriber_id AND due.skip IS NOT NULL
    RETURNING r.subscriber_id
), claimed AS (
    UPDATE otn.recipient r
    SET state = 'sending', attempt_id = gen_random_uuid(), attempts = r.attempts + 1, unanswered = r.unanswered + 1,
        lease_until = clock_timestamp() + make_interval(secs => :lease_s), not_before = NULL, reason = NULL,
        updated_at = clock_timestamp()
    FROM due WHERE r.campaign_id = due.campaign_id AND r.subscriber_id = due.subscriber_id AND due.skip IS NULL
    RETURNING r.campaign_id, r.subscriber_id, r.attempt_id, r.attempts, r.variables, due.token_encrypted
), intended AS (
    INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender)
    SELECT campaign_id, subscriber_id, attempt_id, 'intent', :sender FROM claimed
)
SELECT subscriber_id, attempt_id::text, attempts, variables, token_encrypted FROM claimed
UNION ALL
SELECT subscriber_id, NULL, NULL, NULL, NULL FROM skipped;

-- name: claim_doubtful
-- Unknown rows are asked again with the same token, through the same gates as a first send. Whoever does not pass stays
-- unknown and says why. The expired token of a row in doubt is not asked about: no answer to it would settle anything.
-- Whoever was called too long ago, for a campaign that has its moment, would perhaps see it only now: a person must want
-- that (otn_retry sets not_before to -infinity). A call that is proven without effect does not count.
WITH gate AS (
    SELECT c.id, CASE WHEN c.send_at IS NOT NULL AND c.if_late <> 'send' THEN clock_timestamp() - c.late_after END AS oldest
    FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
    WHERE c.id = :campaign_id AND c.state = 'sending' AND p.halted_at IS NULL
), due AS MATERIALIZED (
    SELECT r.campaign_id, r.subscriber_id, t.token_encrypted,
           CASE WHEN EXISTS (SELECT FROM otn.suppression s
                             WHERE s.subscriber_id = r.subscriber_id AND (s.topic_id IS NULL OR s.topic_id = t.topic_id)
                               AND (s.reason IN ('operator', 'erased') OR (s.reason = 'stop_word' AND s.since >= t.opted_in_at)))
                THEN 'suppressed'
                WHEN t.token_encrypted IS NULL OR t.expires_at <= clock_timestamp() THEN (
                    SELECT CASE WHEN p.erased_at IS NULL THEN 'token_expired' ELSE 'erased' END
                    FROM otn.subscriber p WHERE p.id = r.subscriber_id)
                WHEN r.not_before IS DISTINCT FROM '-infinity' AND gate.oldest > (
                    SELECT min(a.at) FROM otn.attempt a
                    WHERE a.campaign_id = r.campaign_id AND a.subscriber_id = r.subscriber_id AND a.step = 'intent'
                      AND NOT EXISTS (SELECT FROM otn.attempt e WHERE e.campaign_id = a.campaign_id AND e.subscriber_id = a.subscriber_id
                                      AND e.attempt_id = a.attempt_id AND e.step = 'answer' AND e.outcome IN ('returned', 'refused')))
                THEN 'late' END AS closed
    FROM gate
    JOIN otn.recipient r ON r.campaign_id = gate.id
    JOIN otn.token t ON t.id = r.token_id
    WHERE r.state = 'unknown' AND (r.not_before IS NULL OR r.not_before <= clock_timestamp())
    ORDER BY r.subscriber_id LIMIT :most
    FOR UPDATE OF r SKIP LOCKED
), closed AS (
    -- Not asked again until a person wants it (otn_retry).
    UPDATE otn.recipient r SET reason = due.closed, not_before = 'infinity', updated_at = clock_timestamp()
    FROM due WHERE r.campaign_id = due.campaign_id AND r.subscriber_id = due.subscriber_id AND due.closed IS NOT NULL
    RETURNING r.subscriber_id
), claimed AS (
    UPDATE otn.recipient r
    SET state = 'sending', attempt_id = gen_random_uuid(), attempts = r.attempts + 1, unanswered = r.unanswered + 1,
        lease_until = clock_timestamp() + make_interval(secs => :lease_s), not_before = NULL, updated_at = clock_timestamp()
    FROM due WHERE r.campaign_id = due.campaign_id AND r.subscriber_id = due.subscriber_id AND due.closed IS NULL
    RETURNING r.campaign_id, r.subscriber_id, r.attempt_id, r.attempts, r.variables, due.token_encrypted
), intended AS (
    INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender)
    SELECT campaign_id, subscriber_id, attempt_id, 'intent', :sender FROM claimed
)
SELECT subscriber_id, attempt_id::text, attempts, variables, token_encrypted FROM claimed
UNION ALL
SELECT subscriber_id, NULL, NULL, NULL, NULL FROM closed;

-- name: renew_leases
-- No call may start with less lease left than all its time limits together.
WITH held AS MATERIALIZED (
    SELECT :campaign_id::bigint AS campaign_id, h.* FROM unnest(:subscriber_ids::bigint[], :attempt_ids::uuid[]) AS h(subscriber_id, attempt_id)
)
UPDATE otn.recipient r SET lease_until = clock_timestamp() + make_interval(secs => :lease_s)
FROM held
WHERE r.campaign_id = held.campaign_id AND r.subscriber_id = held.subscriber_id AND r.attempt_id = held.attempt_id
  AND r.state = 'sending' AND r.lease_until > clock_timestamp()
RETURNING r.subscriber_id;

-- name: expire_leases!
-- Its sender died, hangs, or lost the database: nobody knows what became of the call.
UPDATE otn.recipient SET state = 'unknown', lease_until = NULL, reason = 'lease_lost',
       not_before = CASE WHEN mod(attempts, 8) = 0 THEN 'infinity'::timestamptz END, updated_at = clock_timestamp()
WHERE campaign_id = :campaign_id AND state = 'sending' AND lease_until <= clock_timestamp();

-- name: next_lease_end^
-- How long until a row that another sender holds can be judged; and when the next unknown may be asked.
SELECT extract(epoch FROM min(lease_until) FILTER (WHERE state = 'sending') - clock_timestamp()) AS lease_s,
       extract(epoch FROM min(greatest(coalesce(not_before, clock_timestamp()), clock_timestamp()))
               FILTER (WHERE state = 'unknown' AND not_before IS DISTINCT FROM 'infinity') - clock_timestamp()) AS ask_s
FROM otn.recipient WHERE campaign_id = :campaign_id AND state IN ('sending', 'unknown');

-- name: is_due^
-- Whether anybody of the chunk, behind a person, may be called now: looked at before permits are taken, so that none is
-- wasted.
SELECT EXISTS (SELECT FROM otn.recipient
               WHERE campaign_id = :campaign_id AND chunk = :chunk AND state = 'waiting' AND subscriber_id > :after
                 AND (not_before IS NULL OR not_before <= clock_timestamp())) AS due;

-- name: is_doubtful_due^
-- Likewise for rows that may be asked again.
SELECT EXISTS (SELECT FROM otn.recipient
               WHERE campaign_id = :campaign_id AND state = 'unknown'
                 AND (not_before IS NULL OR not_before <= clock_timestamp())) AS due;

-- name: next_waiting^
-- How long until a row that was told to wait may be called; null when none waits.
SELECT extract(epoch FROM min(greatest(coalesce(not_before, clock_timestamp()), clock_timestamp())) - clock_timestamp()) AS wait_s
FROM otn.recipient WHERE campaign_id = :campaign_id AND chunk = :chunk AND state = 'waiting';

-- name: record
-- What came back, one statement a slice. The log comes first: an answer that is logged already changes nothing twice.
--   fresh     answers logged now, beside their rows
--   on_time   the row still belongs to this attempt
--   others    further calls of this row that nobody knows the end of
-- An acceptance always leads to sent. Any other answer counts only when it is on time; and while another call is in
-- doubt, a refusal of the token as used means that the other call arrived, and any other answer settles nothing.
-- A token from before a restored backup was put to use may have been spent by a call that the backup does not know.
-- Rows in doubt are asked again after 1, 2, 4 … 60 s. After a refusal that settles nothing, and after every eighth call,
-- only a person has them asked again: not_before is infinity.
WITH answer AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(:answers) AS a(
        subscriber_id bigint, attempt_id uuid, outcome text, message_id text, http_status smallint, error_code integer,
        error_subcode integer, retry_worth boolean, token_refused boolean, token_used boolean, unreachable boolean, skip boolean, called boolean,
        reason text, wait_s double precision, age_s double precision)
), fresh AS (
    INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender, outcome, http_status, error_code, error_subcode, message_id, reason)
    SELECT :campaign_id, subscriber_id, attempt_id, 'answer', :sender, outcome, http_status, error_code, error_subcode, message_id, reason
    FROM answer ORDER BY subscriber_id
    ON CONFLICT ON CONSTRAINT attempt_step_once DO NOTHING
    RETURNING campaign_id, subscriber_id, attempt_id
), judged AS (
    SELECT a.*, fresh.campaign_id, (SELECT c.state = 'cancelled' FROM otn.campaign c WHERE c.id = :campaign_id) AS given_up, r.state AS was,
           r.attempt_id = a.attempt_id AND r.state IN ('sending', 'unknown') AS on_time,
           CASE WHEN r.state IN ('sending', 'unknown', 'sent') THEN r.unanswered - 1 ELSE r.unanswered END AS others,
           a.token_used AND EXISTS (
               SELECT FROM otn.epoch e JOIN otn.token t ON t.opted_in_at < e.restored_at WHERE t.id = r.token_id) AS forgotten,
           NOT r.holds_token AND EXISTS (
               SELECT FROM otn.recipient o WHERE o.token_id = r.token_id AND o.holds_token) AS contested
    FROM fresh
    JOIN answer a USING (subscriber_id, attempt_id)
    JOIN otn.recipient r ON r.campaign_id = fresh.campaign_id AND r.subscriber_id = fresh.subscriber_id
    ORDER BY r.subscriber_id
    FOR UPDATE OF r
), decided AS (
    SELECT judged.*,
           CASE WHEN outcome = 'sent' THEN 'sent'
                WHEN NOT on_time THEN NULL
                WHEN outcome = 'unknown' THEN 'unknown'
                WHEN outcome = 'refused' AND others > 0 AND token_used THEN 'sent'
                WHEN others > 0 THEN 'unknown'
                WHEN outcome = 'refused' THEN 'refused'
                WHEN skip THEN 'skipped'
                WHEN given_up THEN 'cancelled'
                ELSE 'waiting' END::otn.recipient_state AS becomes
    FROM judged
), settled AS (
    UPDATE otn.recipient r SET
        state = d.becomes,
        lease_until = NULL,
        attempts = r.attempts - CASE WHEN d.called THEN 0 ELSE 1 END,
        unanswered = CASE WHEN d.outcome = 'unknown' THEN r.unanswered ELSE greatest(d.others, 0) END,
        evidence = CASE WHEN d.outcome = 'sent' THEN 'answer' WHEN d.becomes = 'sent' THEN 'token_used_inferred' END::otn.evidence,
        message_id = CASE WHEN d.outcome = 'sent' THEN d.message_id ELSE r.message_id END,
        sent_at = CASE WHEN d.becomes = 'sent' THEN coalesce(r.sent_at, clock_timestamp() - make_interval(secs => d.age_s)) END,
        error_code = CASE WHEN d.becomes = 'sent' THEN NULL ELSE d.error_code END,
        error_subcode = CASE WHEN d.becomes = 'sent' THEN NULL ELSE d.error_subcode END,
        retry_worth = d.becomes = 'refused' AND coalesce(d.retry_worth, false),
        token_dead = d.becomes = 'refused' AND coalesce(d.token_refused, false),
        token_contested = r.token_contested OR (d.becomes = 'sent' AND d.contested),
        reason = CASE WHEN d.becomes = 'refused' AND d.forgotten THEN 'spent_before_restore'
                      WHEN d.becomes IN ('sent', 'refused', 'cancelled') THEN NULL
                      WHEN d.becomes = 'unknown' AND d.outcome = 'refused' THEN 'refused_in_doubt'
                      ELSE coalesce(d.reason, 'no_answer') END,
        not_before = CASE WHEN d.becomes = 'unknown' AND (d.outcome = 'refused' OR (d.called AND mod(r.attempts, 8) = 0)) THEN 'infinity'
                          WHEN d.becomes IN ('waiting', 'unknown') THEN clock_timestamp()
                          + make_interval(secs => greatest(coalesce(d.wait_s, 0), least(power(2, mod(greatest(r.attempts - 1, 0), 8)), 60))) END,
        updated_at = clock_timestamp()
    FROM decided d
    WHERE r.campaign_id = d.campaign_id AND r.subscriber_id = d.subscriber_id AND d.becomes IS NOT NULL
      -- Sent already, and stated: a second acceptance is logged, the first keeps its message id.
      AND NOT (r.state = 'sent' AND r.evidence <> 'token_used_inferred')
    RETURNING r.subscriber_id, r.state, d.unreachable
), lost AS (
    -- Whoever cannot be reached is left out of later plans until they speak again, or a retry reaches them.
    INSERT INTO otn.suppression (subscriber_id, reason, actor)
    SELECT subscriber_id, 'unreachable', 'platform' FROM settled WHERE state = 'refused' AND unreachable ORDER BY subscriber_id
    ON CONFLICT (subscriber_id, coalesce(topic_id, 0), reason) DO UPDATE SET since = clock_timestamp()
), found AS (
    DELETE FROM otn.suppression p USING settled
    WHERE settled.state = 'sent' AND p.subscriber_id = settled.subscriber_id AND p.reason = 'unreachable'
), logged_late AS (
    -- A late answer only settles its own doubt, and only while another call keeps the row in doubt.
    UPDATE otn.recipient r SET unanswered = r.unanswered - 1
    FROM decided d
    WHERE r.campaign_id = d.campaign_id AND r.subscriber_id = d.subscriber_id AND d.becomes IS NULL
      AND d.outcome <> 'unknown' AND NOT coalesce(d.token_refused, false)
      AND (r.unanswered > 1 OR (r.state = 'sent' AND r.unanswered > 0))
)
SELECT d.subscriber_id, d.becomes::text AS state, d.outcome, d.on_time, d.token_used AND d.becomes = 'refused' AND NOT d.forgotten AS spent_elsewhere
FROM decided d;

-- name: window^
-- What the stop rules look at, locked: senders of one campaign add to it one after the other.
SELECT id, page_id, key, state::text, answered, refused, recent, content_run, content_error, max_refused
FROM otn.campaign WHERE id = :campaign_id FOR NO KEY UPDATE;

-- name: save_window!
-- Written back by the sender that holds the row.
UPDATE otn.campaign SET answered = :answered, refused = :refused, recent = :recent, content_run = :content_run,
       content_error = :content_error
WHERE id = :campaign_id;
