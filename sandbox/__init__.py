"""A stand-in for the Messenger Platform: wire-true, with a ledger and faults on demand."""
