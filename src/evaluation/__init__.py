"""Evaluation on the test set: predictions, scores, report and figures."""
