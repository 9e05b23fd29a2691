-- Landing: files of opt-ins and webhooks that others drop below a URL, and how far each was taken.

-- One row a URL. Whether it could be listed when somebody looked last.
CREATE TABLE otn.landing (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url            text NOT NULL,                                         -- without credentials
    looked_at      timestamptz,                                           -- last listed in full
    failed_at      timestamptz,                                           -- set: since when it cannot be
    error          text,
    CONSTRAINT landing_once UNIQUE (url),
    CONSTRAINT landing_url_is_short CHECK (octet_length(url) BETWEEN 1 AND 1024),
    CONSTRAINT landing_failure_has_reason CHECK ((failed_at IS NULL) = (error IS NULL))
);

-- One row a file. It is marked here and never touched: many a bucket may only be read.
--   waiting   -> taken, refused     to be read, first or again; tried again after an error, at due_at
--   taken     -> waiting            read to its end; waits again when it has changed
--   refused   -> waiting, dismissed nobody tries again but by a person's word, or when it has changed
--   dismissed -> waiting            somebody saw that it was refused, and leaves it
CREATE TABLE otn.landing_file (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    landing_id     integer NOT NULL REFERENCES otn.landing,
    name           text NOT NULL,                                         -- below the URL
    size           bigint NOT NULL,                                       -- bytes as listed; of a .gz those of the .gz
    version        text NOT NULL,                                         -- what the store gives to tell that it has changed
    state          text NOT NULL DEFAULT 'waiting',
    error          text,                                                  -- of the last try
    tries          smallint NOT NULL DEFAULT 0,                           -- since something was read of it
    due_at         timestamptz,
    read_bytes     bigint NOT NULL DEFAULT 0,                             -- so far, unpacked, up to the end of a line ...
    read_lines     bigint NOT NULL DEFAULT 0,
    read_digest    bytea,                                                 -- ... and their SHA-256: goes on only behind the same
    lines          bigint NOT NULL DEFAULT 0,                             -- with something in them ...
    imported       bigint NOT NULL DEFAULT 0,                             -- ... and what became of each
    webhooks       bigint NOT NULL DEFAULT 0,
    duplicate      bigint NOT NULL DEFAULT 0,
    expired        bigint NOT NULL DEFAULT 0,
    refused        bigint NOT NULL DEFAULT 0,
    reasons        jsonb NOT NULL DEFAULT '{}',                           -- reason -> lines refused
    found_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_at       timestamptz,
    CONSTRAINT landing_file_once UNIQUE (landing_id, name),
    CONSTRAINT landing_file_name_is_short CHECK (octet_length(name) BETWEEN 1 AND 1024),
    CONSTRAINT landing_file_state_is_known CHECK (state IN ('waiting', 'taken', 'refused', 'dismissed')),
    CONSTRAINT landing_file_waits_for_a_time CHECK ((due_at IS NOT NULL) = (state = 'waiting')),
    CONSTRAINT landing_file_taken_has_time CHECK ((taken_at IS NOT NULL) = (state = 'taken')),
    CONSTRAINT landing_file_refused_has_reason CHECK (state NOT IN ('refused', 'dismissed') OR error IS NOT NULL),
    CONSTRAINT landing_file_taken_has_no_error CHECK (state <> 'taken' OR error IS NULL),
    CONSTRAINT landing_file_digest_is_hash CHECK (octet_length(read_digest) = 32),
    CONSTRAINT landing_file_position_has_digest CHECK (read_bytes = 0 OR read_digest IS NOT NULL),
    CONSTRAINT landing_file_counts CHECK (least(size, tries, read_bytes, read_lines, imported, webhooks, duplicate, expired, refused) >= 0),
    CONSTRAINT landing_file_balances CHECK (lines = imported + webhooks + duplicate + expired + refused),
    CONSTRAINT landing_file_reasons_are_counts CHECK (jsonb_typeof(reasons) = 'object')
);
CREATE INDEX landing_file_due ON otn.landing_file (landing_id, due_at) WHERE state = 'waiting';
CREATE INDEX landing_file_refused ON otn.landing_file (id) WHERE state = 'refused';
CREATE INDEX landing_file_taken ON otn.landing_file (taken_at) WHERE taken_at IS NOT NULL;

-- Lines that were refused: where to look, nothing of what stands there.
CREATE TABLE otn.landing_refusal (
    file_id        bigint NOT NULL REFERENCES otn.landing_file,
    line           bigint NOT NULL,
    reason         text NOT NULL,
    CONSTRAINT landing_refusal_once PRIMARY KEY (file_id, line),
    CONSTRAINT landing_refusal_line_is_number CHECK (line > 0),
    CONSTRAINT landing_refusal_has_reason CHECK (reason <> '')
);
