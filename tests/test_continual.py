"""Continual learning by growing (Firefly, Wu et al., NeurIPS 2020): what was learned stays as it was, bit for bit."""

from __future__ import annotations

import torch

from autoshrink.training.device import repeatable
from continual import Learner, growing, judged, tasks_of


def test_earlier_tasks_compute_what_they_did_after_later_growth() -> None:
    tasks = tasks_of("digits", 0, train=30, validation=15, size=None)[:3]
    shape = tuple(tasks[0].train.batch(torch.arange(1))[0].shape[1:])
    learner = Learner(shape, epochs=2.0, edges=2, seed=0)
    with repeatable(1):
        found, shared = growing(learner, tasks)
        recalled = [judged(learner.recalled(shared, one), task) for one, task in zip(found, tasks, strict=True)]

        # The check can fail: who goes on with all weights forgets.
        other = learner.network(found[0].cell)
        learner.train(other, tasks[0])
        known = learner.learned(other, found[0].cell, tasks[0])
        learner.train(other, tasks[1])
        forgotten, _ = judged(learner.recalled(other, known), tasks[0])

    edges = [len(one.cell.edges) for one in found]
    assert edges == sorted(set(edges)), "each task added something"
    for (logits, accuracy), one in zip(recalled, found, strict=True):
        assert torch.equal(logits, one.logits)
        assert accuracy == one.accuracy > 0.6
    assert not torch.equal(forgotten, known.logits)
