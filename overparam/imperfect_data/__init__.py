"""Learning from imperfect data."""
