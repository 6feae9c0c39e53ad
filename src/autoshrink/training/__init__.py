"""Training: one loop, and the evaluators built on it."""
