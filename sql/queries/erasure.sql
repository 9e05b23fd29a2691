-- Erasure: a person leaves, and the sums of what was sent stay.

-- name: share!
-- Whoever stores people takes this before it looks at the tombstones, and holds it until its commit: between the two
-- nobody can be erased, or a person would come back the moment after.
SELECT pg_advisory_xact_lock_shared(hashtext('otn.erasure'));

-- name: exclude!
-- Waits for everybody who is just storing people; the next ones wait here and then see the tombstone.
SELECT pg_advisory_xact_lock(hashtext('otn.erasure'));

-- name: bury$
-- Tombstones, each once; answers how many are new.
WITH new AS (
    INSERT INTO otn.tombstone (psid_hash, erased_at)
    SELECT b.hash, coalesce(min(b.at), clock_timestamp()) FROM unnest(:hashes::bytea[], :times::timestamptz[]) AS b (hash, at)
    GROUP BY b.hash ORDER BY b.hash
    ON CONFLICT DO NOTHING RETURNING psid_hash
)
SELECT count(*) FROM new;

-- name: find_person^
-- Nobody who was erased has a PSID.
SELECT id FROM otn.subscriber WHERE page_id = :page_id AND psid = :psid;

-- name: find_tombstone^
-- Since when a person is gone.
SELECT erased_at FROM otn.tombstone WHERE psid_hash = :psid_hash;

-- name: lock_recipients!
-- Rows of campaigns first, in key order, as senders take them: they look at the person only afterwards.
SELECT 1 FROM otn.recipient WHERE subscriber_id = ANY (:ids::bigint[]) ORDER BY campaign_id, subscriber_id FOR UPDATE;

-- name: lock_window_messages!
-- Likewise, by id.
SELECT 1 FROM otn.window_message WHERE subscriber_id = ANY (:ids::bigint[]) ORDER BY id FOR UPDATE;

-- name: forget_subscribers!
-- The row stays, as long as figures refer to it; nothing in it is a person.
UPDATE otn.subscriber SET psid = NULL, first_name = NULL, last_name = NULL, locale = NULL, utc_offset = NULL, labels = '{}',
       attributes = '{}', last_interaction_at = NULL, profile_error = NULL, erased_at = clock_timestamp()
WHERE id = ANY (:ids::bigint[]) AND erased_at IS NULL;

-- name: forget_tokens!
-- Waits for a plan that is just reserving one of them: what it wrote is found by the statements after this one.
UPDATE otn.token SET token_encrypted = NULL, wiped_at = coalesce(wiped_at, clock_timestamp()), ref = NULL,
       token_hash = sha256(decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')),
       scrubbed_at = clock_timestamp()
WHERE subscriber_id = ANY (:ids::bigint[]) AND scrubbed_at IS NULL;

-- name: forget_recipients!
-- Who waits is skipped. A call under way or in doubt stays the truth about a call, and is not asked about again.
UPDATE otn.recipient r SET
    state = CASE WHEN r.state = 'waiting' THEN 'skipped' ELSE r.state::text END::otn.recipient_state,
    reason = CASE WHEN r.state = 'waiting' THEN 'erased' ELSE r.reason END,
    not_before = CASE r.state WHEN 'waiting' THEN NULL WHEN 'unknown' THEN 'infinity' ELSE r.not_before END,
    message_id = CASE WHEN r.message_id IS NOT NULL THEN 'erased' END,
    variables = '{}', updated_at = clock_timestamp()
WHERE r.subscriber_id = ANY (:ids::bigint[])
  AND (r.state = 'waiting' OR r.variables <> '{}' OR r.message_id <> 'erased'
       OR (r.state = 'unknown' AND r.not_before IS DISTINCT FROM 'infinity'));

-- name: forget_attempts!
-- The platform's message ids lead to the person's thread.
UPDATE otn.attempt a SET message_id = NULL FROM otn.recipient r
WHERE r.subscriber_id = ANY (:ids::bigint[]) AND a.campaign_id = r.campaign_id AND a.subscriber_id = r.subscriber_id
  AND a.message_id IS NOT NULL;

-- name: forget_window_messages!
-- One that is in its call is left to a later look.
UPDATE otn.window_message w SET
    state = CASE WHEN w.state = 'waiting' THEN 'skipped' ELSE w.state::text END::otn.window_state,
    reason = CASE WHEN w.state = 'waiting' THEN 'erased' ELSE w.reason END,
    not_before = NULL, message = NULL, ref = NULL,
    message_id = CASE WHEN w.message_id IS NOT NULL THEN 'erased' END, updated_at = clock_timestamp()
WHERE w.subscriber_id = ANY (:ids::bigint[]) AND w.state <> 'sending'
  AND (w.state = 'waiting' OR w.message IS NOT NULL OR w.ref IS NOT NULL OR w.message_id <> 'erased');

-- name: forget_window_attempts!
-- As those of campaigns.
UPDATE otn.window_attempt a SET message_id = NULL FROM otn.window_message w
WHERE w.subscriber_id = ANY (:ids::bigint[]) AND a.window_message_id = w.id AND a.message_id IS NOT NULL;

-- name: lift_silence!
-- Nobody is left who could be silenced; the tombstone is what keeps the person away.
DELETE FROM otn.suppression WHERE subscriber_id = ANY (:ids::bigint[]);

-- name: webhooks_of_person
-- Bodies that this person's events were read from.
SELECT DISTINCT webhook_day AS day, webhook_id::text AS id FROM otn.event WHERE subscriber_id = :id ORDER BY 1, 2;

-- name: delete_events!
-- What was evidence stands on the rows already.
DELETE FROM otn.event WHERE subscriber_id = ANY (:ids::bigint[]);

-- name: lock_bodies
-- A body that somebody holds is left alone: waiting for it here could be waiting in a circle, and retention takes it.
SELECT w.id::text, w.body FROM otn.webhook_event w
WHERE w.received_day = :day::date AND w.id = ANY (:ids::uuid[]) AND w.ingested_at IS NOT NULL
ORDER BY w.id FOR UPDATE SKIP LOCKED;

-- name: save_bodies!
-- Of one day, so that one partition is looked at.
UPDATE otn.webhook_event w SET body = u.body FROM unnest(:ids::uuid[], :bodies::bytea[]) AS u (id, body)
WHERE w.received_day = :day::date AND w.id = u.id;

-- name: next_erased
-- Everybody who was erased, to look once more at what a call under way has left behind.
SELECT id FROM otn.subscriber WHERE erased_at IS NOT NULL AND id > :after_id ORDER BY id LIMIT :most;

-- name: next_people
-- Everybody, walked by key: hashes can only be made outside of Postgres.
SELECT s.id, s.page_id AS page_row_id, p.page_id, s.psid FROM otn.subscriber s JOIN otn.page p ON p.id = s.page_id
WHERE s.id > :after_id AND s.psid IS NOT NULL ORDER BY s.id LIMIT :most;

-- name: mark^
-- How far this database has followed the journal; the mark of an empty one says nothing where somebody was erased.
SELECT bytes, tail, walked AND (bytes > 0 OR NOT EXISTS (SELECT FROM otn.tombstone)) AS followed, walked FROM otn.erasure_mark;

-- name: set_mark!
-- In the transaction that wrote the tombstones.
INSERT INTO otn.erasure_mark (id, bytes, tail, walked) VALUES (1, :bytes, :tail, :walked)
ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes, tail = excluded.tail, walked = excluded.walked, marked_at = clock_timestamp();

-- name: mark_walked!
-- Everybody was looked for; unless the journal has gone on meanwhile and another is still looking.
UPDATE otn.erasure_mark SET walked = true, marked_at = clock_timestamp() WHERE bytes = :bytes AND tail = :tail;

-- name: tombstones
-- All of them: the journal is made whole from them, and everybody who stands in neither is a person who may stay.
SELECT psid_hash, erased_at FROM otn.tombstone ORDER BY erased_at, psid_hash;
