-- The consent ledger: otn.v_consent, filtered and walked by key.

-- name: list_consents
-- One page of a list; the last number is where the next page starts.
SELECT s.psid, k.* FROM otn.v_consent k JOIN otn.subscriber s ON s.id = k.subscriber_id
WHERE k.consent_id > :after
  AND (:page::text IS NULL OR k.page = :page) AND (:topic::text IS NULL OR k.topic = :topic)
  AND (:subscriber_id::bigint IS NULL OR k.subscriber_id = :subscriber_id) AND (:state::text IS NULL OR k.state = :state)
ORDER BY k.consent_id LIMIT :most;

-- name: export_consents
-- Everything, from one moment: read through a cursor of the server, so that a million rows need no memory.
SELECT s.psid, k.* FROM otn.v_consent k JOIN otn.subscriber s ON s.id = k.subscriber_id
WHERE (:page::text IS NULL OR k.page = :page) AND (:topic::text IS NULL OR k.topic = :topic)
  AND (:subscriber_id::bigint IS NULL OR k.subscriber_id = :subscriber_id) AND (:state::text IS NULL OR k.state = :state)
ORDER BY k.consent_id;

-- name: count_consents$
-- How many an export will have at most, for its progress bar.
SELECT count(*) FROM otn.token k JOIN otn.topic t ON t.id = k.topic_id JOIN otn.page p ON p.id = t.page_id
WHERE (:page::text IS NULL OR p.connection_id = :page) AND (:topic::text IS NULL OR t.key = :topic)
  AND (:subscriber_id::bigint IS NULL OR k.subscriber_id = :subscriber_id);
