"""Placeholder until its module is written."""
