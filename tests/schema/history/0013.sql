-- What version 0013 added.
INSERT INTO otn.endpoint (page_id, key, url, kinds, secret, secret_before, secret_until, position, tries, failed_since, error, delivered, created_by)
VALUES (1, 'crm', 'https://example.org/otn', ARRAY['recipients', 'campaign.finished'], 'sealed', 'sealed before', '2026-02-01Z', 1, 2,
        '2026-01-05Z', 'status 500', 1, 'me');
INSERT INTO otn.outcome (page_id, campaign_id, subscriber_id, state, evidence, at) VALUES (1, 1, 1, 'sent', 'echo', '2026-01-06Z');
INSERT INTO otn.outcome (page_id, campaign_id, state, at) VALUES (1, 1, 'finished', '2026-01-06Z');
INSERT INTO otn.outgoing_event (page_id, campaign_id, kind, content, created_at)
VALUES (1, 1, 'recipients', '{"results": [{"subscriber": 1, "state": "unknown"}]}', '2026-01-05Z');
INSERT INTO otn.notice (campaign_id, kind, at, settled_at, told) VALUES (1, 'finished', '2026-01-05Z', '2026-01-05Z', 'It is finished.');
