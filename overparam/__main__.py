"""``python -m overparam`` is the command ``overparam``."""

from overparam.cli import main

main()
