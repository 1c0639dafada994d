"""Device, precision, determinism, processes and random numbers."""
