"""Training speed: this project, other ways to train the same network, and the limits of the machine."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in every stage (stages/__init__.py), and alike for all ways
