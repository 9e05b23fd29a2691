-- Evidence from outside: what echoes, delivery reports and reads say about rows.
-- Rows are locked in key order before they change, as the senders do, so that nobody waits in a circle.

-- name: settle_echoes!
-- An echo that carries our attempt id (as metadata) or our message id proves that the person has the message:
-- the row is sent, whatever stood there. Page and PSID match, because event and recipient share the subscriber.
WITH echo AS MATERIALIZED (
    SELECT DISTINCT ON (r.campaign_id, r.subscriber_id) r.campaign_id, r.subscriber_id, e.mid, e.occurred_at
    FROM otn.event e
    JOIN otn.recipient r ON r.subscriber_id = e.subscriber_id
    WHERE e.id = ANY (:event_ids::bigint[]) AND e.kind = 'echo' AND e.mid IS NOT NULL
      AND NOT (r.state = 'sent' AND r.evidence <> 'token_used_inferred' AND r.sent_at = e.occurred_at)
      AND (r.message_id = e.mid OR EXISTS (
          SELECT FROM otn.attempt a
          WHERE a.campaign_id = r.campaign_id AND a.subscriber_id = r.subscriber_id AND a.step = 'intent'
            AND a.attempt_id::text = e.metadata))
    ORDER BY r.campaign_id, r.subscriber_id, e.occurred_at
), locked AS MATERIALIZED (
    SELECT r.campaign_id, r.subscriber_id, echo.mid, echo.occurred_at,
           NOT r.holds_token AND EXISTS (
               SELECT FROM otn.recipient o WHERE o.token_id = r.token_id AND o.holds_token) AS contested
    FROM echo JOIN otn.recipient r USING (campaign_id, subscriber_id)
    ORDER BY r.campaign_id, r.subscriber_id FOR UPDATE OF r
)
UPDATE otn.recipient r SET
    state = 'sent',
    evidence = CASE WHEN r.evidence = 'answer' THEN r.evidence ELSE 'echo' END,
    message_id = CASE WHEN r.evidence = 'answer' THEN r.message_id ELSE locked.mid END,
    sent_at = locked.occurred_at,
    unanswered = CASE WHEN r.state IN ('sending', 'unknown') THEN r.unanswered - 1 ELSE r.unanswered END,
    lease_until = NULL, not_before = NULL, reason = NULL, error_code = NULL, error_subcode = NULL,
    retry_worth = false, token_dead = false, token_contested = r.token_contested OR locked.contested,
    updated_at = clock_timestamp()
FROM locked WHERE r.campaign_id = locked.campaign_id AND r.subscriber_id = locked.subscriber_id;

-- name: annotate_deliveries!
-- Only rows that are sent: by message id, or by the watermark ("everything before it was delivered").
WITH report AS MATERIALIZED (
    SELECT r.campaign_id, r.subscriber_id, min(coalesce(e.watermark, e.occurred_at)) AS at
    FROM otn.event e
    JOIN otn.recipient r ON r.subscriber_id = e.subscriber_id AND r.state = 'sent'
    WHERE e.id = ANY (:event_ids::bigint[]) AND r.delivered_at IS NULL AND e.kind IN ('delivery', 'read')
      AND (r.message_id = ANY (e.mids) OR e.watermark >= r.sent_at)
    GROUP BY r.campaign_id, r.subscriber_id
), locked AS MATERIALIZED (
    SELECT r.campaign_id, r.subscriber_id, report.at FROM report JOIN otn.recipient r USING (campaign_id, subscriber_id)
    ORDER BY r.campaign_id, r.subscriber_id FOR UPDATE OF r
)
UPDATE otn.recipient r SET delivered_at = locked.at, updated_at = clock_timestamp()
FROM locked WHERE r.campaign_id = locked.campaign_id AND r.subscriber_id = locked.subscriber_id AND r.state = 'sent';

-- name: annotate_reads!
-- A read has no message id: its watermark says that everything up to it was seen.
WITH report AS MATERIALIZED (
    SELECT r.campaign_id, r.subscriber_id, min(e.watermark) AS at
    FROM otn.event e
    JOIN otn.recipient r ON r.subscriber_id = e.subscriber_id AND r.state = 'sent'
    WHERE e.id = ANY (:event_ids::bigint[]) AND r.read_at IS NULL AND e.kind = 'read' AND e.watermark >= r.sent_at
    GROUP BY r.campaign_id, r.subscriber_id
), locked AS MATERIALIZED (
    SELECT r.campaign_id, r.subscriber_id, report.at FROM report JOIN otn.recipient r USING (campaign_id, subscriber_id)
    ORDER BY r.campaign_id, r.subscriber_id FOR UPDATE OF r
)
UPDATE otn.recipient r SET read_at = locked.at, updated_at = clock_timestamp()
FROM locked WHERE r.campaign_id = locked.campaign_id AND r.subscriber_id = locked.subscriber_id AND r.state = 'sent';

-- name: events_of_campaign
-- Deliveries and reads may be ingested before the answer of their call is recorded: a run looks at them once more.
SELECT e.id FROM otn.recipient r
JOIN otn.event e ON e.subscriber_id = r.subscriber_id AND e.kind IN ('echo', 'delivery', 'read')
WHERE r.campaign_id = :campaign_id AND e.occurred_at >= :since
  AND (r.state IN ('sending', 'unknown')
       OR (r.state = 'sent' AND (r.delivered_at IS NULL OR r.read_at IS NULL OR r.evidence = 'token_used_inferred')))
ORDER BY e.id;
