-- Deletion requests: what the platform's callback left, until it is carried out.

-- name: waiting
-- Late: it was tried for so long that what is known must do. The others in any order: whom the platform does not tell
-- must not keep everybody else waiting.
SELECT id::text, user_id, received_at < clock_timestamp() - make_interval(days => :days) AS late FROM otn.deletion_request
WHERE state = 'received' ORDER BY late DESC, random() LIMIT :most;

-- name: count_person!
-- Somebody was found at this try; earlier tries may have found others.
UPDATE otn.deletion_request SET found = found + 1 WHERE id = :id::uuid;

-- name: finish$
-- Whoever comes second changes nothing.
UPDATE otn.deletion_request SET state = 'done', user_id = NULL, people = found, done_at = clock_timestamp()
WHERE id = :id::uuid AND state = 'received' RETURNING people;

-- name: list_requests
-- Newest first, without whom they are about.
SELECT code, state, received_at, people, done_at FROM otn.deletion_request ORDER BY received_at DESC, id;
