-- Silences outlive a restored backup: how far this database has followed their journal outside, and which of its lines wait.

-- The last statement of each transaction that silences somebody or lifts that: a database that stands behind the file has
-- forgotten some.
CREATE TABLE otn.silence_mark (
    id             smallint PRIMARY KEY DEFAULT 1,
    bytes          bigint NOT NULL DEFAULT 0,
    tail           bytea NOT NULL DEFAULT sha256(''),                     -- hash of the end that the file had then
    owed           boolean NOT NULL DEFAULT false,                        -- the file may lack what began or ended here
    walked_id      bigint NOT NULL DEFAULT 0,                             -- people up to this one were compared with all that wait
    looks          bigint NOT NULL DEFAULT 0,
    CONSTRAINT silence_mark_is_alone CHECK (id = 1),
    CONSTRAINT silence_mark_has_size CHECK (bytes >= 0),
    CONSTRAINT silence_mark_tail_is_hash CHECK (octet_length(tail) = 32)
) WITH (fillfactor = 50);
INSERT INTO otn.silence_mark (owed) SELECT EXISTS (SELECT FROM otn.suppression);

-- Lines whose person is not here, or not looked for yet: whoever was silenced after the backup may come back by an import.
CREATE TABLE otn.silence (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    psid_hash      bytea NOT NULL,
    payload        text,                                                  -- of the topic; null: everything
    reason         text NOT NULL,
    since          timestamptz NOT NULL,
    lifted         boolean NOT NULL,
    CONSTRAINT silence_psid_hash_is_hash CHECK (octet_length(psid_hash) = 32),
    CONSTRAINT silence_reason_is_known CHECK (reason IN ('stop_word', 'operator'))
);
CREATE UNIQUE INDEX silence_once ON otn.silence (psid_hash, reason, (payload IS NULL), coalesce(payload, ''));

SELECT otn.make_roles();
