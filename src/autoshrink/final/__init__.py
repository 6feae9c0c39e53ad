"""The final training of one architecture on all of its data, in a folder, resumable, and what its model is worth.

A folder holds:

- ``model.safetensors``: the weights of the best epoch so far, with everything that is needed to use them;
- ``training.safetensors``: where the training stands: weights, their average, optimiser, settings, curve;
- ``curve.json``: the figures of every epoch, for people and scripts; for classifiers also ``curve.svg``.

An epoch is random from (seed, epoch, batch) alone, so a training that was killed goes on from where it was last saved
and ends with the same figures as an undisturbed one.
"""

from autoshrink.final.base import (
    Epoch,
    FinalLearner,
    FinalProblem,
    Request,
    TaskTraining,
    TrainingResult,
    TrainingWatcher,
)
from autoshrink.final.training import LOCK_FILE, STATE_FILE, resume_training, train

__all__ = [
    "LOCK_FILE",
    "STATE_FILE",
    "Epoch",
    "FinalLearner",
    "FinalProblem",
    "Request",
    "TaskTraining",
    "TrainingResult",
    "TrainingWatcher",
    "resume_training",
    "train",
]
