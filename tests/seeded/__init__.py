"""Rows of tests/mutations.py by area."""
