-- name: responder_speaks$
-- A responder of this very machine has asked something lately: it asks several times a second as long as it is well.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'otn responder'
        AND client_addr IS NOT DISTINCT FROM inet_client_addr()
        AND state_change > clock_timestamp() - make_interval(secs => :seconds)
);

-- name: has_role(role)$
-- Whether this login has the rights of a role; asked by name, an unknown role would be an error.
SELECT CASE WHEN to_regrole(:role) IS NOT NULL THEN pg_has_role(to_regrole(:role), 'USAGE') ELSE false END;
