-- Rules: this word, this button, this link → this request card or this message.

-- name: rule_book
-- All that an event may be answered with. A rule without card and message does not exist; a topic keeps its title.
SELECT r.id, r.page_id, r.key, r.trigger::text, r.pattern, r.topic_id, t.key AS topic_key, t.payload AS topic_payload,
       t.title AS topic_title, r.ref, r.message, r.stock
FROM otn.rule r LEFT JOIN otn.topic t ON t.id = r.topic_id
ORDER BY r.page_id, r.key;

-- name: write_rule!
-- The key stays, so that what the rule has answered keeps pointing to it.
INSERT INTO otn.rule (page_id, key, trigger, pattern, topic_id, ref, message, stock)
VALUES (:page_id, :key, :trigger::otn.rule_trigger, :pattern, :topic_id, :ref, :message::jsonb, :stock)
ON CONFLICT (page_id, key) DO UPDATE
SET trigger = excluded.trigger, pattern = excluded.pattern, topic_id = excluded.topic_id, ref = excluded.ref,
    message = excluded.message, stock = excluded.stock;

-- name: park_rules!
-- A file may have two rules change places: none of those it writes stands in another's way meanwhile.
UPDATE otn.rule SET trigger = 'postback', pattern = format('(parked %%s)', id)
WHERE page_id = :page_id AND key = ANY (:keys::text[]);

-- name: remove_rule!
-- What it has answered stays, without it.
DELETE FROM otn.rule WHERE id = :id;
