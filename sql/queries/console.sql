-- The console's own questions: what its pages show and no command asks.

-- name: campaigns_at_a_glance
-- What is going on, whole, and the latest that ended; their figures are counted aside.
WITH shown AS (
    (SELECT * FROM otn.campaign WHERE state NOT IN ('finished', 'cancelled') ORDER BY created_at DESC LIMIT 200)
    UNION ALL
    (SELECT * FROM otn.campaign WHERE state IN ('finished', 'cancelled') ORDER BY finished_at DESC LIMIT :ended)
)
SELECT c.id, c.key, coalesce(p.name, p.connection_id) AS page, coalesce(t.title, t.key) AS topic, c.state::text, c.created_at, c.send_at, c.started_at,
       c.finished_at
FROM shown c
JOIN otn.page p ON p.id = c.page_id
JOIN otn.topic t ON t.id = c.topic_id
ORDER BY coalesce(c.finished_at, c.created_at) DESC;

-- name: coming_months
-- The months that a chart of the stock shows: a token lives a year at most, and each month has its place, empty or not.
SELECT to_char(month, 'YYYY-MM') AS month
FROM generate_series(date_trunc('month', now()), date_trunc('month', now()) + interval '12 months', interval '1 month') AS month
ORDER BY month;

-- name: consents_by_month
-- What became of every opt-in, of all topics in one walk: unspent, reserved, spent, expired; and the month in which each ends.
SELECT k.topic_id, CASE WHEN r.state IN ('sent', 'refused') THEN 'spent' WHEN r.token_id IS NOT NULL THEN 'reserved'
                        WHEN k.token_encrypted IS NOT NULL AND k.expires_at > now() THEN 'unspent' ELSE 'expired' END AS fate,
       CASE WHEN k.expires_at > now()
            THEN least(date_trunc('month', k.expires_at), date_trunc('month', now()) + interval '12 months') END AS month,
       count(*) AS opt_ins, count(*) FILTER (WHERE k.expires_at <= now() + make_interval(days => :days)) AS dying
FROM otn.token k
LEFT JOIN otn.recipient r ON r.token_id = k.id AND r.holds_token
GROUP BY 1, 2, 3;

-- name: cards_by_topic
-- Cards that reached people, and how many were tapped; those of rules are asks too.
SELECT topic_id, count(*) AS asked, count(tapped_at) AS tapped FROM otn.window_message
WHERE card AND state = 'sent' GROUP BY topic_id;

-- name: topics_registered
-- What a page asks about, by name.
SELECT t.id, p.connection_id AS page, t.key, t.title, t.payload FROM otn.topic t JOIN otn.page p ON p.id = t.page_id
WHERE t.registered_at IS NOT NULL AND (:page_id::integer IS NULL OR t.page_id = :page_id)
ORDER BY p.id, t.key;

-- name: topics_by_number
-- What the topics of a count are called.
SELECT t.id, coalesce(t.title, t.key) AS title, coalesce(p.name, p.connection_id) AS page FROM otn.topic t JOIN otn.page p ON p.id = t.page_id
WHERE t.id = ANY (:ids::integer[]) ORDER BY p.id, t.key;

-- name: topics_met
-- Payloads that nobody registered, the latest first; a page with personal payloads has one a person.
SELECT t.id, p.connection_id AS page, t.key, t.payload, t.created_at, count(*) OVER () AS altogether
FROM otn.topic t JOIN otn.page p ON p.id = t.page_id
WHERE t.registered_at IS NULL AND t.adopted_by IS NULL AND (:page_id::integer IS NULL OR t.page_id = :page_id)
ORDER BY t.id DESC LIMIT :most;

-- name: topic_by_number^
-- One topic with its page, and with the topic that adopted it.
SELECT t.*, p.connection_id AS page, p.name AS page_name, a.key AS adopter FROM otn.topic t
JOIN otn.page p ON p.id = t.page_id
LEFT JOIN otn.topic a ON a.id = t.adopted_by
WHERE t.id = :id;

-- name: topics_adopted
-- Payloads whose later opt-ins go to a topic.
SELECT id, key, payload FROM otn.topic WHERE adopted_by = :id ORDER BY id LIMIT :most;

-- name: topic_stops$
-- How many people stopped one topic: they go along when its opt-ins are given to another.
SELECT count(*) FROM otn.suppression WHERE topic_id = :id;

-- name: campaigns_of_topic
-- The latest of one topic; their figures are counted aside.
SELECT c.id, c.key, coalesce(p.name, p.connection_id) AS page, t.title AS topic, c.state::text, c.created_at, c.send_at, c.started_at, c.finished_at
FROM otn.campaign c
JOIN otn.page p ON p.id = c.page_id
JOIN otn.topic t ON t.id = c.topic_id
WHERE c.topic_id = :id ORDER BY c.id DESC LIMIT :most;

-- name: campaigns_listed
-- Newest first, walked by number; no figures here: they are counted aside.
SELECT c.id, c.key, coalesce(p.name, p.connection_id) AS page, coalesce(t.title, t.key) AS topic, c.state::text, c.created_at, c.send_at, c.started_at,
       c.finished_at
FROM otn.campaign c
JOIN otn.page p ON p.id = c.page_id
JOIN otn.topic t ON t.id = c.topic_id
WHERE (:page::text IS NULL OR p.connection_id = :page) AND (:states::text[] IS NULL OR c.state::text = ANY (:states))
  AND (:word::text IS NULL OR strpos(lower(c.key), lower(:word)) > 0) AND (:before::bigint IS NULL OR c.id < :before)
ORDER BY c.id DESC LIMIT :most;

-- name: recipient_groups
-- Everything that a campaign's page tells about its recipients, in one walk over them: a second one costs as much again.
SELECT r.state::text, r.reason, r.error_code, r.error_subcode, r.token_dead, r.retry_worth, r.evidence::text,
       date_bin(make_interval(secs => :span_s), r.sent_at, timestamptz 'epoch') AS sent_span,
       count(*) AS people, count(r.delivered_at) AS delivered, count(r.read_at) AS read,
       count(*) FILTER (WHERE r.state IN ('sent', 'refused', 'skipped')
                          AND coalesce(r.sent_at, r.updated_at) > clock_timestamp() - make_interval(secs => :lately_s)) AS lately
FROM otn.recipient r WHERE r.campaign_id = :campaign_id
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;

-- name: reacted$
-- People who wrote, tapped a button or reacted after their message went out. Events are found by age: a campaign has few
-- of these kinds, and looking each recipient up costs more.
SELECT count(DISTINCT r.subscriber_id)
FROM otn.campaign c
JOIN otn.event v ON v.created_at >= c.started_at AND v.kind IN ('message', 'postback', 'reaction')
JOIN otn.recipient r ON r.campaign_id = c.id AND r.subscriber_id = v.subscriber_id
WHERE c.id = :campaign_id AND v.occurred_at > r.sent_at AND v.occurred_at < r.sent_at + make_interval(days => :days);

-- name: opted_out$
-- People who said stop, or had it noted, after their message went out; for this topic or for all.
SELECT count(DISTINCT r.subscriber_id)
FROM otn.campaign c
JOIN otn.suppression p ON p.since >= c.started_at AND p.reason IN ('stop_word', 'operator', 'erased')
                      AND (p.topic_id IS NULL OR p.topic_id = c.topic_id)
JOIN otn.recipient r ON r.campaign_id = c.id AND r.subscriber_id = p.subscriber_id
WHERE c.id = :campaign_id AND p.since > r.sent_at AND p.since < r.sent_at + make_interval(days => :days);

-- name: retryable$
-- Whom retry_refused would take up now: the same conditions.
SELECT count(*) FROM otn.recipient r JOIN otn.token t ON t.id = r.token_id
WHERE r.campaign_id = :campaign_id AND r.state = 'refused' AND r.retry_worth AND r.unanswered = 0 AND NOT r.token_dead
  AND t.token_encrypted IS NOT NULL AND t.expires_at > clock_timestamp()
  AND NOT otn.silenced(r.subscriber_id, t.topic_id, t.opted_in_at)
  AND NOT EXISTS (SELECT FROM otn.recipient o WHERE o.token_id = r.token_id AND o.holds_token);

-- name: audit_of
-- Who did what to a campaign, the latest first.
SELECT at, actor, action, detail FROM otn.audit WHERE campaign_id = :campaign_id ORDER BY at DESC, id DESC LIMIT :most;

-- name: runs_seen
-- Runs of Airflow that worked on a campaign.
SELECT dag_id, run_id, seen_at FROM otn.campaign_run WHERE campaign_id = :campaign_id ORDER BY seen_at DESC LIMIT :most;

-- name: campaign_of_run$
-- The tab on a run of Airflow shows its campaign.
SELECT campaign_id FROM otn.campaign_run WHERE dag_id = :dag_id AND run_id = :run_id ORDER BY seen_at DESC LIMIT 1;

-- name: recipients_of
-- One page of a list, walked by key in either direction: a null folds the other half away before anything is read. The
-- names come afterwards, only of those that are shown.
WITH shown AS MATERIALIZED (
    (SELECT r.* FROM otn.recipient r
     WHERE :before::bigint IS NULL AND r.campaign_id = :campaign_id AND r.subscriber_id > :after
       AND (:state::otn.recipient_state IS NULL OR r.state = :state)
       AND (:error_code::integer IS NULL OR r.error_code = :error_code)
       AND (:error_subcode::integer IS NULL OR r.error_subcode = :error_subcode)
     ORDER BY r.subscriber_id LIMIT :most)
    UNION ALL
    (SELECT r.* FROM otn.recipient r
     WHERE r.campaign_id = :campaign_id AND r.subscriber_id < :before::bigint
       AND (:state::otn.recipient_state IS NULL OR r.state = :state)
       AND (:error_code::integer IS NULL OR r.error_code = :error_code)
       AND (:error_subcode::integer IS NULL OR r.error_subcode = :error_subcode)
     ORDER BY r.subscriber_id DESC LIMIT :most)
)
SELECT r.subscriber_id, s.psid, s.first_name, s.last_name, s.erased_at, r.state::text, r.evidence::text, r.error_code,
       r.error_subcode, r.token_dead, r.reason, r.attempts, r.sent_at, r.delivered_at, r.read_at, r.updated_at
FROM shown r JOIN otn.subscriber s ON s.id = r.subscriber_id
ORDER BY r.subscriber_id;

-- name: left_out_of
-- One page of those who were left out at planning, walked likewise.
WITH shown AS MATERIALIZED (
    (SELECT x.* FROM otn.exclusion x
     WHERE :before::bigint IS NULL AND x.campaign_id = :campaign_id AND x.subscriber_id > :after
       AND (:reason::text IS NULL OR x.reason = :reason)
     ORDER BY x.subscriber_id LIMIT :most)
    UNION ALL
    (SELECT x.* FROM otn.exclusion x
     WHERE x.campaign_id = :campaign_id AND x.subscriber_id < :before::bigint AND (:reason::text IS NULL OR x.reason = :reason)
     ORDER BY x.subscriber_id DESC LIMIT :most)
)
SELECT x.subscriber_id, s.psid, s.first_name, s.last_name, s.erased_at, x.reason
FROM shown x JOIN otn.subscriber s ON s.id = x.subscriber_id
ORDER BY x.subscriber_id;

-- name: recipient_of^
-- One person in one campaign.
SELECT r.subscriber_id, s.psid, s.first_name, s.last_name, s.erased_at, r.state::text, r.evidence::text, r.message_id,
       r.error_code, r.error_subcode, r.token_dead, r.retry_worth, r.reason, r.attempts, r.unanswered, r.chunk, r.variables,
       r.token_id, k.opted_in_at, k.expires_at, r.lease_until, nullif(r.not_before, 'infinity') AS not_before,
       r.not_before = 'infinity' AS held_back, r.sent_at, r.delivered_at, r.read_at, r.updated_at
FROM otn.recipient r
JOIN otn.subscriber s ON s.id = r.subscriber_id
JOIN otn.token k ON k.id = r.token_id
WHERE r.campaign_id = :campaign_id AND r.subscriber_id = :subscriber_id;

-- name: attempts_of
-- Every call of one person in one campaign: the intent, and what came back; the same attempt one after the other.
SELECT a.attempt_id::text, min(a.at) OVER (PARTITION BY a.attempt_id) AS began_at, a.step, a.at, a.sender, a.outcome,
       a.http_status, a.error_code, a.error_subcode, a.message_id, a.reason
FROM otn.attempt a
WHERE a.campaign_id = :campaign_id AND a.subscriber_id = :subscriber_id
ORDER BY began_at, a.attempt_id, a.step DESC, a.at LIMIT :most;

-- name: exclusion_of$
-- Why one person was left out of one campaign.
SELECT reason FROM otn.exclusion WHERE campaign_id = :campaign_id AND subscriber_id = :subscriber_id;

-- name: people_by_psid_anywhere
-- A PSID belongs to one page, and whoever searches need not know to which.
SELECT s.id, p.connection_id AS page, s.psid, s.first_name, s.last_name, s.last_interaction_at, s.erased_at
FROM otn.page p JOIN otn.subscriber s ON s.page_id = p.id AND s.psid = :psid;

-- name: people_by_number
-- Our number, for whoever comes with one from an export; an erased person has nothing else any more.
SELECT s.id, p.connection_id AS page, s.psid, s.first_name, s.last_name, s.last_interaction_at, s.erased_at
FROM otn.subscriber s JOIN otn.page p ON p.id = s.page_id WHERE s.id = :id;

-- name: people_by_name
-- Where a name begins so: the last one, or else first and last one together. Each half walks an index in the order of names,
-- from the one after which it goes on, or from what was typed: of two bounds of one column Postgres begins at this one. The halves
-- are bounded before they are put together.
WITH found AS (
    (SELECT s.id, lower(s.last_name) COLLATE "C" AS name FROM otn.subscriber s
     WHERE s.last_name IS NOT NULL AND lower(s.last_name) COLLATE "C" LIKE lower(:beginning)
       AND (lower(s.last_name) COLLATE "C", s.id) > (greatest(:after_name, lower(:text)) COLLATE "C", :after)
     ORDER BY 2, 1 LIMIT :most)
    UNION ALL
    (SELECT s.id, lower(s.first_name || coalesce(' ' || s.last_name, '')) COLLATE "C" FROM otn.subscriber s
     WHERE s.first_name IS NOT NULL AND lower(s.first_name || coalesce(' ' || s.last_name, '')) COLLATE "C" LIKE lower(:beginning)
       AND (lower(s.first_name || coalesce(' ' || s.last_name, '')) COLLATE "C", s.id) > (greatest(:after_name, lower(:text)) COLLATE "C", :after)
       AND (lower(s.last_name) COLLATE "C" LIKE lower(:beginning)) IS NOT TRUE
     ORDER BY 2, 1 LIMIT :most)
)
SELECT s.id, p.connection_id AS page, s.psid, s.first_name, s.last_name, s.last_interaction_at, s.erased_at, found.name
FROM found JOIN otn.subscriber s USING (id) JOIN otn.page p ON p.id = s.page_id
ORDER BY found.name, s.id LIMIT :most;

-- name: person_by_number^
-- Whose person this is; after an erasure the row stays without a name.
SELECT s.id, p.connection_id AS page, s.psid, s.erased_at FROM otn.subscriber s JOIN otn.page p ON p.id = s.page_id
WHERE s.id = :id;

-- name: campaigns_of_person
-- Campaigns that planned one person or left them out, by our numbers: where a link leads.
SELECT c.id, c.key FROM otn.campaign c
WHERE c.id IN (SELECT r.campaign_id FROM otn.recipient r WHERE r.subscriber_id = :id
               UNION ALL SELECT x.campaign_id FROM otn.exclusion x WHERE x.subscriber_id = :id);

-- name: keys_taken
-- Of the keys that are proposed for a new campaign, those that another one has.
SELECT key FROM otn.campaign WHERE page_id = :page_id AND key = ANY (:keys::text[]);

-- name: labels_in_use
-- To choose from while a campaign is composed: what topics put on people and the latest campaigns asked for. Those of the
-- people themselves would be a walk over all of them.
SELECT DISTINCT label FROM (
    SELECT unnest(labels) AS label FROM otn.topic WHERE labels <> '{}'
    UNION ALL
    SELECT unnest(c.include_labels || c.exclude_labels || c.canary_labels)
    FROM (SELECT * FROM otn.campaign ORDER BY id DESC LIMIT 200) c
    UNION ALL
    SELECT jsonb_array_elements_text(results.value)
    FROM (SELECT * FROM otn.campaign ORDER BY id DESC LIMIT 200) c CROSS JOIN jsonb_each(c.result_labels) AS results
) AS known
ORDER BY label LIMIT 100;

-- name: first_recipients
-- Some of those who would get it, to look at the message as they do; by our numbers.
SELECT subscriber_id FROM otn.audience(:topic_id, :include_labels, :exclude_labels, :filter, :max_recipients)
WHERE reason IS NULL ORDER BY subscriber_id LIMIT :most;

-- name: fields_of_person^
-- Personal fields as the plan freezes them, with the reference of the consent that dies first.
SELECT jsonb_strip_nulls(s.attributes || jsonb_build_object(
           'first_name', s.first_name, 'last_name', s.last_name, 'locale', s.locale, 'ref', k.ref)) AS fields
FROM otn.subscriber s
LEFT JOIN LATERAL (
    SELECT t.ref FROM otn.token t
    WHERE t.subscriber_id = s.id AND t.topic_id = :topic_id AND t.token_encrypted IS NOT NULL AND t.expires_at > now()
      AND NOT EXISTS (SELECT FROM otn.recipient r WHERE r.token_id = t.id AND r.holds_token)
    ORDER BY t.expires_at, t.id LIMIT 1) k ON true
WHERE s.id = :subscriber_id AND s.page_id = :page_id AND s.erased_at IS NULL;
