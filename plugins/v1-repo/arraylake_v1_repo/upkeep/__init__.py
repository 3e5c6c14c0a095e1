"""Looking after a repo: what was expired, what is garbage, and whether all is well."""
