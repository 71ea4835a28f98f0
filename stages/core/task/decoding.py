"""From logits to answers."""

import numpy as np
from scipy.special import softmax


def predicted(logits: np.ndarray) -> np.ndarray:
    """Return the class index of each text, shape (texts,), from logits of (texts, classes)."""
    return logits.argmax(axis=-1)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each class, shape (texts, classes), from logits of that shape."""
    return softmax(logits, axis=-1)


def accuracy(answers: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of texts whose answer is their label; both have shape (texts,)."""
    return float(np.mean(np.asarray(answers) == np.asarray(labels)))
