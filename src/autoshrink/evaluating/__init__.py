"""What a finished model is worth on labelled data that it has not seen: image classifiers and language models."""

from autoshrink.evaluating.opening import evaluate, measured, open_model

__all__ = ["evaluate", "measured", "open_model"]
