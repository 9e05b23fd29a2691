-- A test of a campaign's message to people whose window is open: no consent is spent.
SELECT 1;
