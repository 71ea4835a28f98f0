"""The task, single-label classification: all that another kind of head would change."""
