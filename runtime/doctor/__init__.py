"""`bt-doctor`: what this machine can run."""
