"""Training dynamics and the infinite-width limit."""
