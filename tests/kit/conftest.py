"""The wrong backends are for the kit alone, which test_mutations.py runs in a process of its own."""

collect_ignore = ["wrong"]
