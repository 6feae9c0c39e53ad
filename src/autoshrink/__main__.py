"""``python -m autoshrink``."""

from autoshrink.cli import main

main()
