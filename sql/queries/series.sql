-- Series: the campaigns that one file makes, an interval each.

-- name: neighbours
-- Campaigns of the same file that were sent, or are to be, after an interval begins: one of them may cover a part of it.
SELECT c.key, c.send_at FROM otn.campaign c
WHERE c.page_id = :page_id AND c.id <> :campaign_id AND starts_with(c.key, :prefix) AND c.state <> 'cancelled' AND c.send_at > :start
ORDER BY c.send_at;

-- name: move_send_at!
-- The file was edited while the campaign waits for its moment; one that is planned stays as it is.
UPDATE otn.campaign SET send_at = :send_at WHERE id = :campaign_id AND planned_at IS NULL;

-- name: pages_of_key
-- The file was given another page: what was opened stays with the page that it was opened on.
SELECT p.connection_id FROM otn.campaign c JOIN otn.page p ON p.id = c.page_id WHERE c.key = :key ORDER BY c.id;
