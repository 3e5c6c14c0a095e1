"""``python -m arraylake_core``."""

from arraylake_core.cli import main

main()
