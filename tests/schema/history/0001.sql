-- What version 0001 left: rows in every table, and in the states that matter.
-- Twelve people with a token each, the first two with two. Of the campaign `going` a sender was killed in the middle.
--   done   1 sent and delivered, 2 refused, 3 refused as used
--   going  4 sent, 5 and 9 wait, 6 claimed and not called, 7 called and not answered, 8 skipped
--   given  10 cancelled            11 objected, 12 said stop
INSERT INTO otn.page (page_id, connection_id, name) VALUES ('100', 'messenger_default', 'Shop');
INSERT INTO otn.page (page_id, connection_id, halted_at, halt_reason)
VALUES ('200', 'second', now(), 'policy_enforcement: block'), ('300', 'third', now(), 'Messenger refused the page (190)');
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
VALUES (1, 'restock', 'Back in stock', 'restock', now()), (2, 'restock', 'Back in stock', 'restock', now());
INSERT INTO otn.topic (page_id, key, payload) VALUES (1, 'Restock!', 'Restock!');
INSERT INTO otn.webhook_event (received_day, id, body, ingested_at, events, ingested, duplicate, quarantined)
VALUES ('2000-01-01', '00000000-0000-0000-0000-000000000001', 'sealed', now(), 6, 3, 2, 1);
INSERT INTO otn.webhook_event (received_day, id, body)
SELECT current_date, ('00000000-0000-0000-0000-00000000001' || n)::uuid, 'sealed' FROM generate_series(1, 3) AS n;
INSERT INTO otn.quarantine (webhook_day, webhook_id, position, reason, item)
VALUES ('2000-01-01', '00000000-0000-0000-0000-000000000001', '0/0', 'no_psid', 'sealed');
INSERT INTO otn.subscriber (page_id, psid, first_name, labels, attributes, last_interaction_at)
SELECT 1, '100' || n, 'P' || n, CASE WHEN n < 3 THEN ARRAY['vip'] ELSE '{}' END, '{"size": "M"}',
       CASE WHEN n < 10 THEN now() END FROM generate_series(1, 12) AS n;
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT n, 1, sha256(n::text::bytea), 'sealed', now() - interval '1 day', now() + interval '300 days'
FROM generate_series(1, 12) AS n;
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
VALUES (1, 1, sha256('second'), 'sealed', now(), now() + interval '365 days');
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, wiped_at, opted_in_at, expires_at)
VALUES (2, 1, sha256('wiped'), now(), now() - interval '2 years', now() - interval '1 year');
INSERT INTO otn.suppression (subscriber_id, reason) VALUES (11, 'operator'), (12, 'stop_word');
INSERT INTO otn.tombstone (psid_hash) VALUES (sha256('gone'));
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, webhook_day, webhook_id)
SELECT sha256(('event' || n)::bytea), 1, n, 'optin', now(), '2000-01-01', '00000000-0000-0000-0000-000000000001'
FROM generate_series(1, 12) AS n;
INSERT INTO otn.event (fingerprint, page_id, kind, occurred_at, detail, webhook_day, webhook_id)
VALUES (sha256('block'), 2, 'policy', now(), 'block: spam', '2000-01-01', '00000000-0000-0000-0000-000000000001'),
       (sha256('warning'), 1, 'policy', now(), 'warning: spam', '2000-01-01', '00000000-0000-0000-0000-000000000001');
INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, approved_at, approved_by, approved_cap, state,
                          planned_at, started_at, finished_at, chunks)
VALUES (1, 1, 'done', '{"text": "It is back!"}', sha256('done'), now(), 'anna', 20, 'finished', now(), now(), now(), 1);
INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state, planned_at, started_at, chunks)
VALUES (1, 1, 'going', '{"text": "It is back!"}', sha256('going'), false, 'sending', now(), now(), 1);
INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state, planned_at, started_at,
                          finished_at, chunks)
VALUES (1, 1, 'given', '{"text": "It is back!"}', sha256('given'), false, 'cancelled', now(), now(), now(), 1);
INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, send_at)
VALUES (1, 1, 'later', '{"text": "It is back!"}', sha256('later'), now() + interval '1 day');
INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state, planned_at, chunks, halt_reason)
VALUES (2, 2, 'halted', '{"text": "It is back!"}', sha256('halted'), false, 'halted', now(), 1, 'policy_enforcement: block');
INSERT INTO otn.exclusion (campaign_id, subscriber_id, reason) VALUES (2, 11, 'suppressed'), (2, 12, 'suppressed'),
    (2, 1, 'token_spent'), (2, 10, 'over_max_recipients');
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, attempt_id, evidence, message_id,
                           sent_at, delivered_at)
VALUES (1, 1, 1, 1, 'sent', 1, gen_random_uuid(), 'answer', 'm_1', now(), now()),
       (2, 4, 4, 1, 'sent', 1, gen_random_uuid(), 'answer', 'm_4', now(), NULL);
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, attempt_id, error_code, token_dead)
VALUES (1, 2, 2, 1, 'refused', 1, gen_random_uuid(), 551, false), (1, 3, 3, 1, 'refused', 1, gen_random_uuid(), 100, true);
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk) VALUES (2, 5, 5, 1), (2, 9, 9, 1);
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, unanswered, attempt_id, lease_until)
VALUES (2, 6, 6, 1, 'sending', 1, 1, gen_random_uuid(), now() - interval '1 minute');
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, unanswered, attempt_id, reason)
VALUES (2, 7, 7, 1, 'unknown', 1, 1, gen_random_uuid(), 'no_answer');
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, reason)
VALUES (2, 8, 8, 1, 'skipped', 'suppressed'), (3, 10, 10, 1, 'cancelled', NULL);
INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender)
SELECT campaign_id, subscriber_id, attempt_id, 'intent', 'me' FROM otn.recipient WHERE attempts > 0;
INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender, outcome, http_status, message_id)
SELECT campaign_id, subscriber_id, attempt_id, 'answer', 'me', 'sent', 200, message_id FROM otn.recipient WHERE state = 'sent';
INSERT INTO otn.pace (page_id) VALUES (1);
INSERT INTO otn.audit (actor, action, page_id, campaign_id, detail) VALUES ('anna', 'approved', 1, 1, '{"cap": 20}');
