"""The epoch: a database that was restored from a backup, or cloned, does not send until a person confirms it."""
