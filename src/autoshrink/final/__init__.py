"""The final training of one architecture on a whole text, in a folder, resumable, and what its model is worth.

A folder holds:

- ``model.safetensors``: the weights of the best epoch so far, with architecture and vocabulary;
- ``training.safetensors``: where the training stands: weights after the last epoch, their average, settings, curve;
- ``curve.json``: validation perplexity after every epoch, for people and scripts.

An epoch is random from (seed, epoch) alone, and SGD without momentum keeps no state but the weights, so a training that
was killed goes on from its last finished epoch and ends with the same figures as an undisturbed one.
"""

from autoshrink.final.evaluation import evaluate
from autoshrink.final.folder import LOCK_FILE, STATE_FILE
from autoshrink.final.training import Epoch, TrainingResult, TrainingWatcher, resume_training, train

__all__ = [
    "LOCK_FILE",
    "STATE_FILE",
    "Epoch",
    "TrainingResult",
    "TrainingWatcher",
    "evaluate",
    "resume_training",
    "train",
]
