-- Answering: what new events are answered with inside the 24 h window, and what proves that it arrived.

-- name: campaigns_of_messages
-- A reaction names the message; a message id is looked up among those of the same person.
SELECT s.page_id, s.psid, w.mid, c.key
FROM unnest(:page_ids::integer[], :psids::text[], :mids::text[]) AS w(page_id, psid, mid)
JOIN otn.subscriber s ON s.page_id = w.page_id AND s.psid = w.psid
JOIN otn.recipient r ON r.subscriber_id = s.id AND r.message_id = w.mid
JOIN otn.campaign c ON c.id = r.campaign_id;

-- name: words_said
-- What a confirmation must know: the person's language, whether all is stopped, whether an operator objects, whether a
-- later word decides, and whether there was anything to start again. The words of each person are read once, however
-- many of them there are.
WITH said AS MATERIALIZED (
    SELECT * FROM otn.event WHERE id = ANY (:event_ids::bigint[])
), words AS MATERIALIZED (
    SELECT o.subscriber_id, o.detail, o.topic_id, min(o.occurred_at) AS first_at, max(o.occurred_at) AS last_at
    FROM otn.event o
    WHERE o.subscriber_id IN (SELECT said.subscriber_id FROM said) AND o.kind = 'message'
      AND o.detail IN ('stop_word', 'start_word')
    GROUP BY o.subscriber_id, o.detail, o.topic_id
), told AS (
    SELECT e.id,
           coalesce(bool_or(w.detail <> e.detail AND (w.topic_id IS NULL OR w.topic_id = e.topic_id)
               AND (w.last_at > e.occurred_at OR (w.last_at = e.occurred_at AND w.detail = 'stop_word'))), false) AS overtaken,
           coalesce(bool_or(w.detail = 'stop_word' AND w.first_at <= e.occurred_at), false) AS stopped_before
    FROM said e LEFT JOIN words w ON w.subscriber_id = e.subscriber_id
    GROUP BY e.id
)
SELECT e.id AS event_id, e.subscriber_id, s.locale, coalesce(t.title, t.key) AS topic,
       EXISTS (SELECT FROM otn.suppression p
               WHERE p.subscriber_id = e.subscriber_id AND p.topic_id IS NULL AND p.reason = 'stop_word') AS all_stopped,
       EXISTS (SELECT FROM otn.suppression p
               WHERE p.subscriber_id = e.subscriber_id AND (p.topic_id IS NULL OR p.topic_id = e.topic_id)
                 AND p.reason = 'operator') AS objected,
       told.overtaken, told.stopped_before
FROM said e
JOIN told ON told.id = e.id
JOIN otn.subscriber s ON s.id = e.subscriber_id
LEFT JOIN otn.topic t ON t.id = e.topic_id;

-- name: put_answers!
-- One row an event, to be sent or with the reason why not. A rule that was removed meanwhile answers nothing. A card that
-- still waits counts however old it is. What people were given is read once a person, so that nobody's flood is
-- everybody's wait. Whether a
-- tap on Notify Me opens the window is not documented: thanks have the window of the last message, or an hour.
WITH offer AS MATERIALIZED (
    SELECT a.*, e.page_id, e.subscriber_id, e.occurred_at,
           least(clock_timestamp() + interval '24 hours', CASE a.cause
               WHEN 'opt_in' THEN greatest(s.last_interaction_at + interval '24 hours', e.occurred_at + interval '1 hour')
               ELSE e.occurred_at + interval '24 hours' END) AS not_after
    FROM jsonb_to_recordset(:answers::jsonb) AS a(
        event_id bigint, cause otn.window_cause, message integer, card boolean, instead integer, rule_id integer,
        topic_id integer, ref text, stock integer, reason text)
    JOIN otn.event e ON e.id = a.event_id
    JOIN otn.subscriber s ON s.id = e.subscriber_id
), kept AS MATERIALIZED (
    SELECT r.id FROM otn.rule r WHERE r.id IN (SELECT offer.rule_id FROM offer) ORDER BY r.id FOR KEY SHARE
), held AS (
    SELECT o.*, o.card AND otn.unspent(o.subscriber_id, o.topic_id, o.ref) >= o.stock AS enough
    FROM offer o
    WHERE o.rule_id IS NULL OR o.rule_id IN (SELECT kept.id FROM kept)
), shaped AS (
    SELECT h.event_id, h.cause, h.rule_id, h.page_id, h.subscriber_id, h.occurred_at, h.not_after, h.enough, h.reason,
           h.card AND NOT swapped AS card, CASE WHEN swapped THEN h.instead ELSE h.message END AS message,
           CASE WHEN NOT swapped THEN h.topic_id END AS topic_id, CASE WHEN NOT swapped THEN h.ref END AS ref
    FROM held h CROSS JOIN LATERAL (SELECT h.enough AND h.instead IS NOT NULL) AS s(swapped)
), given AS MATERIALIZED (
    SELECT w.subscriber_id, count(*) AS messages
    FROM otn.window_message w
    WHERE w.subscriber_id IN (SELECT offer.subscriber_id FROM offer) AND w.cause NOT IN ('ask', 'test') AND w.state <> 'skipped'
      AND w.created_at > clock_timestamp() - interval '1 hour'
    GROUP BY w.subscriber_id
), asked AS MATERIALIZED (
    SELECT DISTINCT w.subscriber_id, w.topic_id, w.ref
    FROM otn.window_message w
    WHERE w.subscriber_id IN (SELECT offer.subscriber_id FROM offer WHERE offer.card) AND w.card AND w.tapped_at IS NULL
      AND (w.state IN ('waiting', 'sending')
           OR (w.state IN ('sent', 'unknown') AND w.called_at > clock_timestamp() - interval '1 hour'))
), judged AS (
    SELECT s.event_id, s.cause, s.rule_id, s.page_id, s.subscriber_id, s.occurred_at, s.not_after, s.card, s.message,
           s.topic_id, s.ref, coalesce(g.messages, 0) AS given,
           CASE WHEN s.reason IS NOT NULL THEN s.reason
                WHEN s.not_after <= clock_timestamp() THEN 'window_closed'
                WHEN s.cause <> 'stop' AND otn.silenced(s.subscriber_id, s.topic_id, s.occurred_at) THEN 'suppressed'
                WHEN s.card AND s.enough THEN 'has_token'
                WHEN s.card AND a.topic_id IS NOT NULL THEN 'asked_already' END AS reason
    FROM shaped s
    LEFT JOIN given g ON g.subscriber_id = s.subscriber_id
    LEFT JOIN asked a ON a.subscriber_id = s.subscriber_id AND a.topic_id = s.topic_id AND a.ref IS NOT DISTINCT FROM s.ref
), once AS (
    SELECT j.*, row_number() OVER (PARTITION BY j.subscriber_id, j.card, j.topic_id, j.ref, j.reason IS NULL
                                   ORDER BY j.occurred_at, j.event_id) > 1 AND j.card AND j.reason IS NULL AS again
    FROM judged j
), counted AS (
    SELECT o.*, row_number() OVER (PARTITION BY o.subscriber_id, o.again OR o.reason IS NOT NULL
                                   ORDER BY o.occurred_at, o.event_id) AS place
    FROM once o
), decided AS (
    SELECT c.*, CASE WHEN c.reason IS NOT NULL THEN c.reason
                     WHEN c.again THEN 'asked_already'
                     WHEN c.place + c.given > :most_an_hour THEN 'flood' END AS skipped_for
    FROM counted c
)
INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, rule_id, topic_id, ref, card, message, state,
                                not_after, reason)
SELECT d.page_id, d.subscriber_id, d.cause, d.event_id, d.rule_id, d.topic_id, d.ref, d.card,
       CASE WHEN d.skipped_for IS NULL THEN m.message END,
       CASE WHEN d.skipped_for IS NULL THEN 'waiting' ELSE 'skipped' END::otn.window_state, d.not_after, d.skipped_for
FROM decided d
LEFT JOIN (SELECT n.value AS message, n.number - 1 AS number
           FROM jsonb_array_elements(:messages::jsonb) WITH ORDINALITY AS n(value, number)) m ON m.number = d.message
ORDER BY d.occurred_at, d.event_id
ON CONFLICT (event_id) DO NOTHING;

-- name: tapped_cards
-- The card that a tap answers: of the same person, topic and reference, called before the tap, the latest of those not
-- yet tapped. Two clocks are compared, ours and the platform's, so a call shortly after the tap may be it too.
SELECT DISTINCT ON (k.id) k.id AS token_id, w.id AS card_id
FROM otn.token k
JOIN otn.window_message w ON w.subscriber_id = k.subscriber_id AND w.topic_id = k.topic_id
WHERE k.id = ANY (:token_ids::bigint[]) AND w.card AND w.state IN ('sending', 'sent', 'unknown')
  AND w.ref IS NOT DISTINCT FROM k.ref AND w.called_at <= k.opted_in_at + interval '5 minutes'
  AND w.id <> ALL (:taken::bigint[])
ORDER BY k.id, w.tapped_at IS NULL DESC, w.called_at <= k.opted_in_at DESC,
         CASE WHEN w.called_at <= k.opted_in_at THEN k.opted_in_at - w.called_at ELSE w.called_at - k.opted_in_at END, w.id DESC;

-- name: echoed_messages
-- An echo that carries an attempt id of ours (as metadata) or our message id, to the same person.
SELECT DISTINCT w.id
FROM otn.event e
JOIN otn.window_message w ON w.subscriber_id = e.subscriber_id
WHERE e.id = ANY (:event_ids::bigint[]) AND e.kind = 'echo' AND e.mid IS NOT NULL
  AND NOT (w.state = 'sent' AND w.sent_at = e.occurred_at)
  AND (w.message_id = e.mid OR EXISTS (
      SELECT FROM otn.window_attempt a
      WHERE a.window_message_id = w.id AND a.step = 'intent' AND a.attempt_id::text = e.metadata));

-- name: lock_messages
-- By id, as senders take them.
SELECT id FROM otn.window_message WHERE id = ANY (:ids::bigint[]) ORDER BY id FOR NO KEY UPDATE;

-- name: link_cards!
-- What was agreed to, and in answer to which card.
UPDATE otn.token k SET card_id = p.card_id
FROM unnest(:token_ids::bigint[], :card_ids::bigint[]) AS p(token_id, card_id) WHERE k.id = p.token_id;

-- name: mark_tapped!
-- A doubt about the call stays: a tap proves that the card is there, but names no message.
UPDATE otn.window_message w SET tapped_at = least(w.tapped_at, k.opted_in_at), updated_at = clock_timestamp()
FROM unnest(:token_ids::bigint[], :card_ids::bigint[]) AS p(token_id, card_id)
JOIN otn.token k ON k.id = p.token_id
WHERE w.id = p.card_id;

-- name: settle_echoes_in_window!
-- The person has the message: the row is sent, whatever stood there. What the platform answered keeps its word.
WITH echo AS (
    SELECT DISTINCT ON (w.id) w.id, e.mid, e.occurred_at, a.attempt_id
    FROM otn.event e
    JOIN otn.window_message w ON w.subscriber_id = e.subscriber_id
    LEFT JOIN otn.window_attempt a
           ON a.window_message_id = w.id AND a.step = 'intent' AND a.attempt_id::text = e.metadata
    WHERE e.id = ANY (:event_ids::bigint[]) AND e.kind = 'echo' AND e.mid IS NOT NULL
      AND w.id = ANY (:ids::bigint[]) AND (w.message_id = e.mid OR a.attempt_id IS NOT NULL)
    ORDER BY w.id, e.occurred_at
)
UPDATE otn.window_message w SET
    state = 'sent',
    evidence = CASE WHEN w.evidence = 'answer' THEN w.evidence ELSE 'echo' END,
    message_id = CASE WHEN w.evidence = 'answer' THEN w.message_id ELSE echo.mid END,
    sent_at = echo.occurred_at,
    attempt_id = coalesce(w.attempt_id, echo.attempt_id), attempts = greatest(w.attempts, 1),
    called_at = coalesce(w.called_at, echo.occurred_at),
    lease_until = NULL, not_before = NULL, reason = NULL, error_code = NULL, error_subcode = NULL,
    updated_at = clock_timestamp()
FROM echo WHERE w.id = echo.id;
