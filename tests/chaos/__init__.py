"""The promise under kill tests: senders die, stop and meet each other; an independent ledger tells what people saw."""
