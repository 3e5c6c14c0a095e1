"""Conformance kits: pytest classes that the author of a backend subclasses. Our own backends pass the same."""
