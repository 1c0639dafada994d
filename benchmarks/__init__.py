"""Training speed: this project, other ways to train the same network, and the limits of the machine."""

import stages  # noqa: F401 - sets how threads wait, for all ways as in every stage
