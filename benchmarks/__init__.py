"""Training speed: this project, two other ways to train the same network, and the limits of the machine."""
