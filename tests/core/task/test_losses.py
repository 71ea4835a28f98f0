import pytest
import torch
from torch.nn import functional

from stages.core.task.losses import UNLABELLED, consistency_loss, distillation_loss


def test_two_equal_answers_cost_their_cross_entropy_alone() -> None:
    logits, labels = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([0, 1])
    loss = consistency_loss(logits, logits, labels, weight=3)
    assert loss == pytest.approx(functional.cross_entropy(logits, labels).item())


def test_the_divergence_of_two_answers_counts_both_ways() -> None:
    first, second = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.0, 0.5]])
    p, q = first.softmax(-1), second.softmax(-1)
    expected = ((p - q) * (p.log() - q.log())).sum() / 2
    labels = torch.tensor([1])
    plain, weighted = (
        consistency_loss(first, second, labels, weight=weight).item() for weight in (0, 2)
    )
    assert weighted - plain == pytest.approx(2 * expected.item())


def batch(rows: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, 3), torch.randn(rows, 3), torch.randint(3, (rows,))


def test_the_loss_on_labels_alone_is_cross_entropy() -> None:
    logits, taught, labels = batch()
    loss = distillation_loss(logits, taught, labels, temperature=3, label_weight=1)
    assert loss == pytest.approx(functional.cross_entropy(logits, labels).item())


def test_the_loss_on_the_teacher_alone_vanishes_when_both_agree() -> None:
    logits, _, labels = batch()
    loss = distillation_loss(logits, logits + 5, labels, temperature=2, label_weight=0)
    assert loss == pytest.approx(0, abs=1e-6)


def test_unlabelled_texts_add_to_the_teachers_term_alone() -> None:
    logits, taught, labels = batch()
    hidden = torch.full_like(labels, UNLABELLED)
    both = distillation_loss(logits, taught, hidden, temperature=2, label_weight=0.25)
    soft = distillation_loss(logits, taught, labels, temperature=2, label_weight=0)
    assert both == pytest.approx(0.75 * soft.item())


def test_the_loss_is_a_mean_over_texts() -> None:
    """So halves of a batch, weighted alike, give the gradient of the whole."""
    logits, taught, labels = batch(8)
    labels[:3] = UNLABELLED
    whole = distillation_loss(logits, taught, labels, temperature=2, label_weight=0.3)
    halves = [
        distillation_loss(logits[part], taught[part], labels[part], temperature=2, label_weight=0.3)
        for part in (slice(0, 4), slice(4, 8))
    ]
    assert whole == pytest.approx(torch.stack(halves).mean().item())


def test_the_gradients_scale_does_not_depend_on_the_temperature() -> None:
    """The reason for the factor temperature², for small logits."""
    norms = []
    for temperature in (1.0, 8.0):
        logits = torch.tensor([[0.01, -0.01, 0.0]], requires_grad=True)
        taught = torch.tensor([[-0.01, 0.02, 0.0]])
        loss = distillation_loss(logits, taught, torch.tensor([0]), temperature, label_weight=0)
        loss.backward()
        assert logits.grad is not None
        norms.append(logits.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.02)
