"""Training: checkpoints from elsewhere, the student, the trainer, averaging and resuming."""
