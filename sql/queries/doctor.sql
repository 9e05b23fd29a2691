-- Doctor: how the database is, asked without changing anything.

-- name: server()^
-- Version and clock; a clock far from ours puts webhooks into the wrong day.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number,
       extract(epoch FROM clock_timestamp())::double precision AS clock, pg_is_in_recovery() AS standby;

-- name: newest_token()$
-- Something encrypted: if it cannot be read, the keys are not those of these data.
SELECT token_encrypted FROM otn.token WHERE token_encrypted IS NOT NULL ORDER BY id DESC LIMIT 1;
