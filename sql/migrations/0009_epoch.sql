-- The epoch: how a database that was restored or cloned is told from the one that has sent.

-- Where this database is, as far as the server tells. A dump that is restored has other tables, a clone another server or
-- database, a server that was promoted or brought back to a moment another timeline. What may not be read is null.
CREATE FUNCTION otn.identity() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    server text;
    line   text;
BEGIN
    BEGIN
        SELECT system_identifier::text INTO server FROM pg_control_system();
    EXCEPTION WHEN OTHERS THEN
        NULL; -- a managed server may keep it to itself
    END;
    BEGIN
        line := substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
    EXCEPTION WHEN OTHERS THEN
        NULL; -- likewise
    END;
    RETURN jsonb_build_object(
        'server', server, 'timeline', line,
        'database', (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
        'tables', 'otn.epoch'::regclass::oid::bigint);
END $$;

-- Each claim counts one up, in its own transaction; a file outside the database follows before the call is made. A database
-- that stands behind the file has forgotten calls. One row and no sequence: pg_dump reads a sequence later than the rows
-- beside it, and after a crash it jumps ahead.
CREATE TABLE otn.epoch (
    id             smallint PRIMARY KEY DEFAULT 1,
    number         bigint NOT NULL DEFAULT 0,                             -- claims so far
    identity       jsonb,                                                 -- where the database was when it began to send
    filed          boolean NOT NULL DEFAULT false,                        -- a file follows it: without the file nobody sends
    halted_at      timestamptz,                                           -- set: nothing is sent until a person confirms
    halt_reason    text,
    halt_number    bigint,                                                -- the newest claim with calls that was known then
    restored_at    timestamptz,                                           -- what was called before then is not all known here
    CONSTRAINT epoch_is_alone CHECK (id = 1),
    CONSTRAINT epoch_number_is_count CHECK (number >= 0),
    CONSTRAINT epoch_identity_is_object CHECK (jsonb_typeof(identity) = 'object'),
    CONSTRAINT epoch_that_counts_has_identity CHECK (number = 0 OR identity IS NOT NULL),
    CONSTRAINT epoch_halt_has_reason CHECK ((halted_at IS NULL) = (halt_reason IS NULL))
) WITH (fillfactor = 50);
INSERT INTO otn.epoch DEFAULT VALUES;

-- What waited in a restored database may have been sent since the backup.
INSERT INTO otn.window_transition VALUES ('waiting', 'unknown');
