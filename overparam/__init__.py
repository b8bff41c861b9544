"""overparam: an executable book on parameterization, and its reference implementations."""

__version__ = "0.1.0"
