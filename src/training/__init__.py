"""Training: the loop, optimizer and schedule, checkpoints, and the scores of each epoch."""
