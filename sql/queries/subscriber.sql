-- Subscribers: who they are, and all that happened between them and the page.

-- name: find_subscriber^
-- By PSID, or by our own number: after an erasure there is no PSID any more.
SELECT s.id AS subscriber_id, s.psid, p.connection_id AS page, s.first_name, s.last_name, s.locale,
       s.utc_offset::float AS utc_offset, s.labels, s.attributes, s.last_interaction_at,
       s.last_interaction_at + interval '24 hours' > clock_timestamp() AS window_open, s.profile_at, s.profile_error,
       s.created_at, s.erased_at
FROM otn.subscriber s JOIN otn.page p ON p.id = s.page_id
WHERE s.page_id = :page_id AND (s.psid = :psid OR s.id = :id);

-- name: list_subscribers
-- One page of a list, walked by key: the last number is where the next page starts.
SELECT s.id AS subscriber_id, s.psid, s.first_name, s.locale, s.labels, s.attributes, s.last_interaction_at,
       (SELECT count(*) FROM otn.v_consent k WHERE k.subscriber_id = s.id AND k.state = 'unspent') AS unspent,
       (SELECT coalesce(array_agg(DISTINCT x.reason), '{}') FROM otn.suppression x WHERE x.subscriber_id = s.id) AS suppressed
FROM otn.subscriber s
WHERE s.page_id = :page_id AND s.id > :after AND s.erased_at IS NULL
  AND s.labels @> :labels::text[] AND s.attributes @> :attributes::jsonb
ORDER BY s.id LIMIT :most;

-- name: suppressions_of
-- Why a person is not written to, oldest first.
SELECT x.reason, t.key AS topic, x.since, x.actor, x.note FROM otn.suppression x LEFT JOIN otn.topic t ON t.id = x.topic_id
WHERE x.subscriber_id = :id ORDER BY x.since, x.id;

-- name: campaigns_of
-- What became of a person in each campaign that planned them, or that left them out.
SELECT c.key AS campaign, t.key AS topic, r.state::text AS state, r.evidence::text AS evidence, r.reason, r.error_code,
       r.error_subcode, r.sent_at, r.delivered_at, r.read_at, r.token_id AS consent_id, c.planned_at
FROM otn.recipient r JOIN otn.campaign c ON c.id = r.campaign_id JOIN otn.topic t ON t.id = c.topic_id
WHERE r.subscriber_id = :id
UNION ALL
SELECT c.key, t.key, 'excluded', NULL, x.reason, NULL, NULL, NULL, NULL, NULL, NULL, c.planned_at
FROM otn.exclusion x JOIN otn.campaign c ON c.id = x.campaign_id JOIN otn.topic t ON t.id = c.topic_id
WHERE x.subscriber_id = :id
ORDER BY planned_at, campaign;

-- name: window_messages_of
-- What was sent, or not, inside the person's 24 h windows, newest first.
SELECT w.id, w.cause::text AS cause, w.card, t.key AS topic, w.ref, w.state::text AS state, w.evidence, w.reason,
       w.error_code, w.error_subcode, w.created_at, w.called_at, w.sent_at, w.tapped_at
FROM otn.window_message w LEFT JOIN otn.topic t ON t.id = w.topic_id
WHERE w.subscriber_id = :id ORDER BY w.id DESC LIMIT :most;

-- name: timeline_of
-- One list of all that happened, the newest kept where there is too much. Ties are told in the order of cause and effect.
WITH moment AS (
    SELECT least(s.created_at, (SELECT min(e.occurred_at) FROM otn.event e WHERE e.subscriber_id = s.id)) AS at, 0 AS place, 'met' AS what, NULL AS about, NULL AS ref, NULL AS detail
    FROM otn.subscriber s WHERE s.id = :id
    UNION ALL
    SELECT s.erased_at, 90, 'erased', NULL, NULL, NULL FROM otn.subscriber s WHERE s.id = :id AND s.erased_at IS NOT NULL
    UNION ALL
    SELECT e.occurred_at, 10,
           CASE e.kind WHEN 'message' THEN 'wrote' WHEN 'postback' THEN 'pressed' WHEN 'reaction' THEN 'reacted'
                WHEN 'referral' THEN 'came by link' ELSE e.kind::text END,
           t.key, e.ref, e.detail
    FROM otn.event e LEFT JOIN otn.topic t ON t.id = e.topic_id
    WHERE e.subscriber_id = :id AND e.kind IN ('message', 'postback', 'reaction', 'referral', 'other_optin')
    UNION ALL
    SELECT k.opted_in_at, 20, 'tapped', t.key, k.ref, k.source
    FROM otn.token k JOIN otn.topic t ON t.id = k.topic_id WHERE k.subscriber_id = :id
    UNION ALL
    SELECT k.opted_in_at, 30, 'token', k.topic, k.ref, k.state FROM otn.v_consent k WHERE k.subscriber_id = :id
    UNION ALL
    SELECT coalesce(w.sent_at, w.called_at, w.updated_at), 40,
           CASE WHEN w.card THEN 'asked' WHEN w.cause = 'opt_in' THEN 'thanked' WHEN w.cause = 'stop' THEN 'confirmed'
                WHEN w.cause = 'test' THEN 'tested' ELSE 'answered' END,
           t.key, w.ref, w.state || coalesce(': ' || w.reason, '')
    FROM otn.window_message w LEFT JOIN otn.topic t ON t.id = w.topic_id WHERE w.subscriber_id = :id
    UNION ALL
    SELECT coalesce(r.sent_at, r.updated_at), 50, 'campaign', c.key, k.ref, r.state || coalesce(': ' || r.reason, '')
    FROM otn.recipient r JOIN otn.campaign c ON c.id = r.campaign_id JOIN otn.token k ON k.id = r.token_id
    WHERE r.subscriber_id = :id
    UNION ALL
    SELECT r.delivered_at, 60, 'delivered', c.key, NULL, NULL
    FROM otn.recipient r JOIN otn.campaign c ON c.id = r.campaign_id WHERE r.subscriber_id = :id AND r.delivered_at IS NOT NULL
    UNION ALL
    SELECT r.read_at, 70, 'read', c.key, NULL, NULL
    FROM otn.recipient r JOIN otn.campaign c ON c.id = r.campaign_id WHERE r.subscriber_id = :id AND r.read_at IS NOT NULL
    UNION ALL
    SELECT x.since, 80, 'silenced', t.key, NULL, x.reason
    FROM otn.suppression x LEFT JOIN otn.topic t ON t.id = x.topic_id WHERE x.subscriber_id = :id
), newest AS (
    SELECT * FROM moment ORDER BY at DESC, place DESC LIMIT :most
)
SELECT at, what, about, ref, detail FROM newest ORDER BY at, place;
