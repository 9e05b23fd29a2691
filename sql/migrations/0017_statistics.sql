-- Recipients are counted anew after a large plan, also by tasks that are not the table's owner and that Postgres would pass over.

-- It changes nothing that anybody reads. Where somebody holds the table, it is left to autovacuum.
CREATE FUNCTION otn.count_recipients_anew() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ANALYZE (SKIP_LOCKED) otn.recipient;
END $$;
