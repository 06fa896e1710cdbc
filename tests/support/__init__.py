"""Helpers that tests of more than one folder share; fixtures are in the conftest.py files."""
