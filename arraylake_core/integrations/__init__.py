"""What other libraries find by their entry points: one module a library, imported by that library alone."""
