"""From logits to answers."""

import numpy as np


def predicted(logits: np.ndarray) -> np.ndarray:
    """Return the class index of each text, shape (texts,), from logits of (texts, classes)."""
    return logits.argmax(axis=-1)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each class, shape (texts, classes), from logits of that shape."""
    from scipy.special import softmax  # 27 MB, which a worker's memory would count

    return softmax(logits, axis=-1)


def accuracy(labels: np.ndarray, answers: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the share of right answers along `axis`."""
    return (labels == answers).mean(axis)
