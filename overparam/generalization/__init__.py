"""Generalization and memorization."""
