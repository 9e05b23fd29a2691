"""Privacy: what is held about a person is shown, forgotten in time, or erased for good."""
