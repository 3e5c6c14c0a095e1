"""Roles that customers let a deployment take: short-lived credentials, limited to one place and one right."""
