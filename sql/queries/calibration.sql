-- Calibration: one token of a named person, spent and asked about again.

-- name: learned
-- What the platform was seen to answer, for a page and a version of its API; used comes first, as it matters most.
SELECT fate, code, subcode, pattern AS message, learned_at FROM otn.calibration
WHERE page_id = :page_id AND api_version = :api_version ORDER BY fate DESC;

-- name: forget!
-- A calibration replaces the one before as a whole.
DELETE FROM otn.calibration WHERE page_id = :page_id AND api_version = :api_version;

-- name: learn!
-- One kind of dead token.
INSERT INTO otn.calibration (page_id, api_version, fate, code, subcode, pattern, campaign_id)
VALUES (:page_id, :api_version, :fate, :code, :subcode, :message, :campaign_id);

-- name: person^
-- Whom the operator names.
SELECT id FROM otn.subscriber WHERE page_id = :page_id AND psid = :psid;

-- name: earlier^
-- A calibration that planned this person before: a token that was surely spent is asked about instead of spending another,
-- and a call without a known end must not be followed by a second token.
SELECT c.id AS campaign_id, c.key, c.state::text AS campaign_state, t.key AS topic_key, r.state::text AS state, k.token_encrypted
FROM otn.recipient r
JOIN otn.campaign c ON c.id = r.campaign_id
JOIN otn.topic t ON t.id = c.topic_id
JOIN otn.token k ON k.id = r.token_id
WHERE r.subscriber_id = :person AND c.page_id = :page_id AND starts_with(c.key, 'calibration/')
  AND (r.state IN ('waiting', 'sending', 'unknown')
       OR (r.state = 'sent' AND r.evidence <> 'token_used_inferred' AND k.token_encrypted IS NOT NULL))
ORDER BY r.state = 'sent' DESC, r.state = 'waiting' DESC, c.id DESC LIMIT 1;

-- name: spendable^
-- Consents of the person that a campaign could spend now, the one that ends first before the others; of one topic, or of any.
SELECT t.id AS topic_id, t.key AS topic_key, a.token_id FROM otn.topic t
CROSS JOIN LATERAL otn.audience(t.id, '{}', '{}', '{}', NULL) AS a
WHERE t.page_id = :page_id AND (:topic_id::integer IS NULL OR t.id = :topic_id) AND a.subscriber_id = :person AND a.reason IS NULL
  AND EXISTS (SELECT FROM otn.token k WHERE k.subscriber_id = :person AND k.topic_id = t.id)
ORDER BY a.expires_at, t.id LIMIT 1;

-- name: plan_person!
-- The campaign has one recipient, whoever else holds a token of the topic.
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk) VALUES (:campaign_id, :person, :token_id, 1);

-- name: expired_token$
-- A token of the person that ran out unspent and whose text is not wiped yet: seldom there, and worth a question.
SELECT k.token_encrypted FROM otn.token k
WHERE k.subscriber_id = :person AND k.token_encrypted IS NOT NULL AND k.expires_at <= clock_timestamp()
  AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = k.id AND r.attempts > 0)
ORDER BY k.expires_at DESC LIMIT 1;

-- name: moment$
-- The second that names a calibration, by the clock that decides.
SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

-- name: recipient^
-- The one person of a calibration.
SELECT r.state::text, k.token_encrypted FROM otn.recipient r JOIN otn.token k ON k.id = r.token_id
WHERE r.campaign_id = :campaign_id AND r.chunk = 1 LIMIT 1;
