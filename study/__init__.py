"""Experiments: why VGG16 does not learn, and the paper's tables in small."""

import stages  # noqa: F401 - sets what OpenMP reads, for trainings of this process as in every stage
