"""Figures of decisions and of times, with their intervals."""
