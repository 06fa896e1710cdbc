"""Proof that what is deployed still decides what was trained, and how fast it does."""
