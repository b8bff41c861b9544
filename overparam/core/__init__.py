"""What every chapter needs, and nothing that only one needs."""
