-- Results that go out to other systems: an outbox, signed, with retry.
SELECT 1;
