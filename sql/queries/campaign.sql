-- Campaigns: opened once per page and key, approved, planned, stopped, ended.

-- name: open_campaign!
-- The same key twice, or from two runs at once, is one campaign: the second insert does nothing.
INSERT INTO otn.campaign (page_id, topic_id, key, message, include_labels, exclude_labels, max_recipients, filter,
                          result_labels, canary, canary_labels, max_refused, send_at, if_late, late_after, content_hash, needs_approval,
                          created_by)
VALUES (:page_id, :topic_id, :key, :message, :include_labels, :exclude_labels, :max_recipients, :filter,
        :result_labels, :canary, :canary_labels, :max_refused, :send_at, :if_late, make_interval(secs => :late_after_s), :content_hash,
        :needs_approval, :actor)
ON CONFLICT (page_id, key) DO NOTHING;

-- name: lock_campaign_by_key^
-- Whoever decides about a campaign holds its row, so that two runs decide one after the other.
SELECT c.*, clock_timestamp() AS now FROM otn.campaign c WHERE c.page_id = :page_id AND c.key = :key FOR UPDATE;

-- name: lock_campaign^
-- Likewise, by id.
SELECT c.*, clock_timestamp() AS now FROM otn.campaign c WHERE c.id = :campaign_id FOR UPDATE;

-- name: find_campaign^
-- A look without a lock.
SELECT c.*, clock_timestamp() AS now, p.page_id AS facebook_page_id, p.connection_id, p.name AS page_name,
       p.halted_at AS page_halted_at, p.halt_reason AS page_halt_reason, t.key AS topic_key, t.title AS topic_title
FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id JOIN otn.topic t ON t.id = c.topic_id
WHERE c.id = :campaign_id;

-- name: find_campaign_by_key^
-- The CLI and the DAGs name a campaign by page and key.
SELECT c.id FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id
WHERE p.connection_id = :connection_id AND c.key = :key;

-- name: list_campaigns
-- Newest first, for people.
SELECT c.id, p.connection_id AS page, c.key, t.key AS topic, c.state::text, c.created_at, c.send_at, c.started_at, c.finished_at
FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id JOIN otn.topic t ON t.id = c.topic_id
ORDER BY c.created_at DESC LIMIT :most;

-- name: reschedule!
-- Times and limits may change until the plan is made; the content may not.
UPDATE otn.campaign SET send_at = :send_at, if_late = :if_late, late_after = make_interval(secs => :late_after_s),
       canary = :canary, canary_labels = :canary_labels, max_refused = :max_refused, result_labels = :result_labels, needs_approval = needs_approval OR :needs_approval
WHERE id = :campaign_id AND planned_at IS NULL;

-- name: change_state!
-- The trigger campaign_transition_is_known refuses a step that is not in the table of transitions.
UPDATE otn.campaign SET state = :state,
       halt_reason = CASE WHEN :state = 'halted' THEN :reason END,
       finished_at = CASE WHEN :state IN ('finished', 'cancelled') THEN clock_timestamp() END
WHERE id = :campaign_id;

-- name: reenter!
-- A run that is cleared by task takes an interrupted or finished campaign up again; what a person or a stop rule ended stays ended.
UPDATE otn.campaign SET state = 'sending', finished_at = NULL
WHERE id = :campaign_id AND state IN ('interrupted', 'finished')
  AND EXISTS (SELECT FROM otn.recipient r WHERE r.campaign_id = :campaign_id AND r.state IN ('waiting', 'sending', 'unknown'));

-- name: clear_stop_window!
-- A person resumed: the stop rules start to count anew, or they would stop it at once.
UPDATE otn.campaign SET answered = 0, refused = 0, recent = '', content_run = 0, content_error = NULL WHERE id = :campaign_id;

-- name: approve!
-- Bound to a number: more people than the cap at the moment of sending must be asked about again.
UPDATE otn.campaign SET approved_at = clock_timestamp(), approved_by = :actor, approved_cap = :cap,
       approved_late = approved_late OR :late
WHERE id = :campaign_id;

-- name: approved_content$
-- A yes is bound to what was shown: the hash stands with the yes in the audit, where nobody can change it.
SELECT detail ->> 'hash' FROM otn.audit WHERE campaign_id = :campaign_id AND action = 'approved' ORDER BY id DESC LIMIT 1;

-- name: waiting_question^
-- The latest question that no yes and no no has ended. A yes that does not count ends nothing: it is asked again.
SELECT q.at, q.actor, q.detail FROM otn.audit q
WHERE q.campaign_id = :campaign_id AND q.action = 'asked'
  AND NOT EXISTS (SELECT FROM otn.audit a WHERE a.campaign_id = q.campaign_id AND a.id > q.id
                    AND a.action IN ('approved', 'rejected', 'cancelled'))
  AND EXISTS (SELECT FROM otn.campaign c WHERE c.id = q.campaign_id AND c.planned_at IS NULL)
ORDER BY q.id DESC LIMIT 1;

-- name: question_of_task^
-- The first one: its words stay in Airflow when the task is cleared or tried again, so a yes is bound to them.
SELECT at, actor, detail FROM otn.audit
WHERE campaign_id = :campaign_id AND action = 'asked' AND detail ->> 'dag' = :dag AND detail ->> 'run' = :run AND detail ->> 'task' = :task
ORDER BY id LIMIT 1;

-- name: yes_not_taken$
-- Whoever is asked again reads why; after a yes that counts there is nothing to tell.
SELECT CASE WHEN action = 'yes not taken' THEN detail ->> 'why' END FROM otn.audit
WHERE campaign_id = :campaign_id AND action IN ('approved', 'yes not taken') ORDER BY id DESC LIMIT 1;

-- name: count_audience
-- Planned and left out, by reason, as of now, and how many of the tokens end within 30 days anyway; the plan reads the same
-- function, and a million people are walked over once.
SELECT reason, count(*) AS people, count(*) FILTER (WHERE expires_at < now() + interval '30 days') AS dying
FROM otn.audience(:topic_id, :include_labels, :exclude_labels, :filter, :max_recipients) GROUP BY reason;

-- name: count_unspent$
-- The stock from which a campaign would take its tokens: alive, and neither spent nor planned nor in doubt.
SELECT count(*) FROM otn.token k LEFT JOIN otn.recipient r ON r.token_id = k.id AND r.holds_token
WHERE k.topic_id = :topic_id AND k.token_encrypted IS NOT NULL AND k.expires_at > now() AND r.token_id IS NULL;

-- name: lock_planning^
-- Two campaigns that plan at once would pick the same tokens; the second waits and then sees them as reserved.
SELECT pg_advisory_xact_lock(hashtext('otn.plan'), :page_id);

-- name: gather^
-- For this transaction: a million people are joined and sorted in memory, and never one by one. What Postgres believes of a
-- topic may be from before its people came: it would walk all suppressions for each of them.
SELECT set_config('work_mem', '64MB', true) AS work_mem, set_config('enable_nestloop', 'off', true) AS enable_nestloop;

-- name: plan_recipients^
-- One statement writes every recipient with its token, its frozen personal fields and its chunk, and the reason of
-- everyone left out. Chunks follow subscriber_id, so that each claim walks one stretch of the index. The canary are those
-- who carry one of its labels, and so many of the others. Who has a token has no reason; asked for the token, Postgres
-- expects most people, asked for no reason, next to nobody.
WITH audience AS MATERIALIZED (
    SELECT * FROM otn.audience(:topic_id, :include_labels, :exclude_labels, :filter, :max_recipients)
), left_out AS (
    INSERT INTO otn.exclusion (campaign_id, subscriber_id, reason)
    SELECT :campaign_id, subscriber_id, reason FROM audience WHERE reason IS NOT NULL
    RETURNING 1
), chosen AS (
    SELECT a.subscriber_id, a.token_id, s.labels && :canary_labels::text[] AS first,
           CASE WHEN cardinality(:fields::text[]) = 0 THEN '{}'::jsonb ELSE (
               SELECT coalesce(jsonb_object_agg(field.key, field.value), '{}')
               FROM jsonb_each(jsonb_strip_nulls(s.attributes || jsonb_build_object(
                   'first_name', s.first_name, 'last_name', s.last_name, 'locale', s.locale, 'ref', k.ref))) AS field
               WHERE field.key = ANY (:fields::text[])) END AS variables
    FROM audience a JOIN otn.subscriber s ON s.id = a.subscriber_id JOIN otn.token k ON k.id = a.token_id
    WHERE a.token_id IS NOT NULL
), ranked AS (
    SELECT subscriber_id, token_id, variables, first,
           count(*) FILTER (WHERE NOT first) OVER (ORDER BY subscriber_id ROWS UNBOUNDED PRECEDING) - 1 AS place,
           count(*) FILTER (WHERE NOT first) OVER () AS total
    FROM chosen
), planned AS (
    INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, variables)
    SELECT :campaign_id, subscriber_id, token_id,
           CASE WHEN first OR place < :canary THEN 0
                ELSE 1 + (place - :canary) / greatest(:rows_per_chunk, ceil((total - :canary) / 300.0))::bigint END,
           variables
    FROM ranked ORDER BY subscriber_id
    RETURNING chunk
)
SELECT (SELECT count(*) FROM planned) AS planned, (SELECT count(*) FROM left_out) AS excluded,
       (SELECT coalesce(max(chunk), 0) FROM planned) AS chunks;

-- name: count_rows_anew^
-- A claim that believes the table empty compares each row with each; the next autovacuum may be a minute away.
SELECT otn.count_recipients_anew();

-- name: mark_planned!
-- The plan and the state change commit together.
UPDATE otn.campaign SET planned_at = clock_timestamp(), started_at = clock_timestamp(), chunks = :chunks, state = 'sending'
WHERE id = :campaign_id;

-- name: remaining^
-- What is left to do decides how a run ends.
SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,
       count(*) FILTER (WHERE state = 'sending') AS sending,
       count(*) FILTER (WHERE state = 'sending' AND lease_until > clock_timestamp()) AS in_call,
       count(*) FILTER (WHERE state = 'unknown') AS unknown
FROM otn.recipient WHERE campaign_id = :campaign_id AND state IN ('waiting', 'sending', 'unknown');

-- name: chunks_waiting
-- Only chunks with something to do become tasks.
SELECT chunk FROM otn.recipient WHERE campaign_id = :campaign_id AND state = 'waiting' GROUP BY chunk ORDER BY chunk;

-- name: cancel_waiting!
-- Their tokens are free again; what is in a call or in doubt stays what it is.
UPDATE otn.recipient SET state = 'cancelled', reason = NULL, not_before = NULL, updated_at = clock_timestamp()
WHERE campaign_id = :campaign_id AND state = 'waiting';

-- name: retry_refused!
-- Only codes that the error table marks worth it, tokens that nobody holds and that live, people not suppressed.
UPDATE otn.recipient r SET state = 'waiting', retry_worth = false, not_before = NULL, reason = NULL, updated_at = clock_timestamp()
FROM otn.token t
WHERE r.campaign_id = :campaign_id AND r.state = 'refused' AND r.retry_worth AND r.unanswered = 0 AND NOT r.token_dead
  AND t.id = r.token_id AND t.token_encrypted IS NOT NULL AND t.expires_at > clock_timestamp()
  AND NOT otn.silenced(r.subscriber_id, t.topic_id, t.opted_in_at)
  AND NOT EXISTS (SELECT FROM otn.recipient o WHERE o.token_id = r.token_id AND o.holds_token);

-- name: ask_unknown_now!
-- A person asks: no further waiting for the next try, however late it is.
UPDATE otn.recipient SET not_before = '-infinity', updated_at = clock_timestamp()
WHERE campaign_id = :campaign_id AND state = 'unknown';

-- name: let_waiting_go!
-- A person asks: rows that were told to wait may be called at once.
UPDATE otn.recipient SET not_before = NULL WHERE campaign_id = :campaign_id AND state = 'waiting' AND not_before IS NOT NULL;

-- name: halt_page!
-- The platform refused the page itself: nothing of it is sent until a person resumes.
UPDATE otn.page SET halted_at = clock_timestamp(), halt_reason = :reason WHERE id = :page_id AND halted_at IS NULL;

-- name: resume_page!
-- Triggered again by a person; a page that is still barred halts again at the first call. A held page stays halted.
UPDATE otn.page SET halted_at = NULL, halt_reason = NULL WHERE id = :page_id AND halted_at IS NOT NULL AND NOT halt_held;

-- name: write_audit!
-- Who did what.
INSERT INTO otn.audit (actor, action, page_id, campaign_id, detail) VALUES (:actor, :action, :page_id, :campaign_id, :detail);
