-- What version 0007 added.
INSERT INTO otn.calibration (page_id, api_version, fate, code, pattern, campaign_id)
VALUES (2, 'v25.0', 'used', 100, 'spent', 1);
