-- What version 0014 added.
INSERT INTO otn.test_message (page_id, topic_id, key, created_by, created_at) VALUES (1, 1, 'otn_test_message a', 'me', '2026-01-05Z');
INSERT INTO otn.attachment (page_id, sha256, kind, media_type, bytes, name, attachment_id, uploaded_by, uploaded_at)
VALUES (1, sha256('a'), 'image', 'image/png', 1, 'new.png', '1234567890', 'me', '2026-01-05Z');
