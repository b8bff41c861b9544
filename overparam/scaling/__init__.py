"""Scaling laws, training once, and inference."""
