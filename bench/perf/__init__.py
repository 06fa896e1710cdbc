"""Measurements of the project itself, run as scripts."""
