"""Comparing an export with its reference."""
