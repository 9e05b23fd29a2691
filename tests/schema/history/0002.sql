-- What version 0002 added.
UPDATE otn.topic SET reply = '{"text": "Thanks"}', labels = ARRAY['restock'] WHERE id = 1;
UPDATE otn.topic SET adopted_by = 1 WHERE key = 'Restock!';
INSERT INTO otn.rule (page_id, key, trigger, pattern, topic_id) VALUES (1, 'restock', 'word', 'restock', 1);
INSERT INTO otn.ask (page_id, topic_id, key, excluded) VALUES (1, 1, 'first', '{"has_token": 3}');
INSERT INTO otn.window_message (page_id, subscriber_id, cause, ask_id, topic_id, card, message, not_after)
VALUES (1, 5, 'ask', 1, 1, true, '{"text": "Shall we?"}', now() + interval '1 hour');
INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, rule_id, topic_id, card, message, not_after, state,
                                attempts, attempt_id, called_at, evidence, message_id, sent_at, tapped_at)
VALUES (1, 1, 'rule', 1, 1, 1, true, '{"text": "Shall we?"}', now(), 'sent', 1, gen_random_uuid(), now(), 'answer', 'w_1',
        now(), now());
INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, rule_id, card, message, not_after, state, attempts,
                                attempt_id, called_at, reason)
VALUES (1, 2, 'rule', 2, 1, false, '{"text": "Hello"}', now(), 'unknown', 1, gen_random_uuid(), now(), 'no_answer');
INSERT INTO otn.window_attempt (window_message_id, attempt_id, step, sender)
SELECT id, attempt_id, 'intent', 'me' FROM otn.window_message WHERE attempts > 0;
UPDATE otn.token SET card_id = 2, ref = 'sku-1' WHERE id = 1;
UPDATE otn.event SET topic_id = 1, ref = 'sku-1' WHERE id = 3;
INSERT INTO otn.subscriber (page_id, psid, erased_at) VALUES (1, NULL, now());
INSERT INTO otn.suppression (subscriber_id, reason, topic_id) VALUES (9, 'stop_word', 3), (13, 'erased', NULL);
INSERT INTO otn.deletion_request (id, code, user_id, user_hash)
VALUES ('00000000-0000-0000-0000-0000000000d1', 'open', 'sealed', sha256('open'));
INSERT INTO otn.deletion_request (id, code, user_hash, state, people, done_at)
VALUES ('00000000-0000-0000-0000-0000000000d2', 'done', sha256('done'), 'done', 1, now());
