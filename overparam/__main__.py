"""``python -m overparam`` is the command ``overparam``."""

from overparam.cli import main

if __name__ == "__main__":
    main()
