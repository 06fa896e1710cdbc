"""`bt-bench compare`: what changed between two measurements."""
