"""Results that go out to other systems: signed, in order, again until they are taken."""
