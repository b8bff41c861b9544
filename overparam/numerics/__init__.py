"""Parameterizing numerics."""
