-- Doctor: how the database is, asked without changing anything. What a role may not see comes back as null.

-- name: server()^
-- Version and clock; a clock far from ours puts webhooks into the wrong day, and Airflow's parts out of step.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number,
       extract(epoch FROM clock_timestamp())::double precision AS clock, pg_is_in_recovery() AS standby,
       current_setting('server_encoding') AS encoding;

-- name: durability()^
-- A commit that is not on the disk is no commit: the promise rests on it. full_page_writes may be off where the disk writes whole pages.
SELECT current_setting('fsync')::boolean AS fsync, current_setting('full_page_writes')::boolean AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit;

-- name: vacuum()^
-- Queues whose dead rows nobody clears away become slow, then large; and old transaction numbers stop the server one day.
SELECT current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean AS working,
       (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS age,
       ARRAY(SELECT relname::text FROM pg_class
             WHERE relnamespace = 'otn'::regnamespace AND reloptions @> ARRAY['autovacuum_enabled=false'] ORDER BY 1) AS excluded;

-- name: connections()^
-- How many connections there are, and may be: of the server, of the database, of the role. All may see these figures.
SELECT (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database) AS used,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer AS most,
       (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()) AS of_database,
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS most_of_database,
       (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) AS of_role,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS most_of_role;

-- name: long_transactions^
-- While one is open, nothing that died since is cleared away in the whole database. Of others' sessions little more than the
-- process is seen without pg_monitor: those are hidden.
SELECT count(*) FILTER (WHERE backend_type IS NULL) AS hidden,
       count(*) FILTER (WHERE xact_start < clock_timestamp() - make_interval(secs => :long_s)) AS long,
       extract(epoch FROM clock_timestamp() - min(xact_start))::bigint AS oldest_s,
       (array_agg(coalesce(nullif(application_name, ''), 'without a name') || ', ' || state ORDER BY xact_start))[1] AS oldest
FROM pg_stat_activity
WHERE datname = current_database() AND coalesce(backend_type, 'client backend') = 'client backend' AND pid <> pg_backend_pid();

-- name: wal()^
-- A slot that nobody reads keeps all that was written since: it fills the disk. An archive that fails does too.
SELECT (SELECT count(*) FROM pg_replication_slots WHERE NOT active) AS idle_slots,
       (SELECT max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn))::bigint
        FROM pg_replication_slots WHERE NOT active) AS kept_bytes,
       (SELECT coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) FROM pg_stat_archiver) AS archive_fails;

-- name: logging()^
-- A failed statement, and the row that it met, hold people's ids.
SELECT current_setting('log_min_error_statement') AS error_statement, current_setting('log_statement') AS statement,
       current_setting('log_min_duration_statement')::integer AS duration;

-- name: role()^
-- Whom the connection works as.
SELECT r.rolname::text AS name, r.rolsuper AS super FROM pg_roles r WHERE r.rolname = current_user;

-- name: default_partition^
-- Webhooks of days that had no partition of their own: nothing is lost, and they go by no dropped partition.
SELECT count(*) AS webhooks, min(received_day) AS first_day FROM otn.webhook_event_default;

-- name: some_tokens
-- Something encrypted, old and new: what cannot be read was written with other keys.
(SELECT p.page_id, t.token_encrypted, t.token_hash
 FROM otn.token t JOIN otn.subscriber s ON s.id = t.subscriber_id JOIN otn.page p ON p.id = s.page_id
 WHERE t.token_encrypted IS NOT NULL ORDER BY t.expires_at LIMIT 1)
UNION ALL
(SELECT p.page_id, t.token_encrypted, t.token_hash
 FROM otn.token t JOIN otn.subscriber s ON s.id = t.subscriber_id JOIN otn.page p ON p.id = s.page_id
 WHERE t.token_encrypted IS NOT NULL ORDER BY t.expires_at DESC LIMIT 1);

-- name: in_doubt
-- Rows that a sender left behind, and rows that asking again may settle; those that can only wait for an echo are not meant.
SELECT c.key, p.connection_id AS page,
       count(*) FILTER (WHERE r.state = 'sending' AND r.lease_until < clock_timestamp() - make_interval(secs => :stale_s)) AS stale,
       count(*) FILTER (WHERE r.state = 'unknown' AND r.updated_at < clock_timestamp() - make_interval(secs => :stale_s)
                          AND coalesce(r.reason, '') <> ALL (ARRAY['refused_in_doubt', 'suppressed', 'token_expired'])) AS unknown
FROM otn.recipient r JOIN otn.campaign c ON c.id = r.campaign_id JOIN otn.page p ON p.id = c.page_id
WHERE r.state IN ('sending', 'unknown')
GROUP BY c.id, p.connection_id ORDER BY c.id;

-- name: buried$
-- People who were erased: a journal that knows fewer would bring them back with a backup.
SELECT count(*) FROM otn.tombstone;
