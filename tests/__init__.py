import stages  # noqa: F401 - sets what OpenMP reads, before a test imports PyTorch
