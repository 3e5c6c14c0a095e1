"""``python -m arraylake_core.cli``."""

from arraylake_core.cli import main

main()
