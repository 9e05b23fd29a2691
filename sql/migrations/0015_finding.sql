-- What people look for among a million rows: somebody by name, and the few whom a campaign did not reach.

-- Names as they are typed: the last one, or first and last one together, from their beginning, whatever their case. By the
-- bytes ("C"), as a beginning is looked for, whatever the order of the database's language.
-- locks: reads every person once; below a second for each 100,000 who have a name.
CREATE INDEX IF NOT EXISTS subscriber_last_name ON otn.subscriber ((lower(last_name) COLLATE "C"), id) WHERE last_name IS NOT NULL;
-- locks: likewise, once for each.
CREATE INDEX IF NOT EXISTS subscriber_name ON otn.subscriber ((lower(first_name || coalesce(' ' || last_name, '')) COLLATE "C"), id)
    WHERE first_name IS NOT NULL;

-- locks: reads every recipient once, and writes down those few.
CREATE INDEX IF NOT EXISTS recipient_not_reached ON otn.recipient (campaign_id, state, subscriber_id, error_code, error_subcode)
    WHERE state IN ('refused', 'skipped');
