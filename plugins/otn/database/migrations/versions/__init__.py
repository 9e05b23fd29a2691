"""One module a migration; each runs the SQL file of its number."""
