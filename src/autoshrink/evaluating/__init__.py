"""What a finished model is worth on labelled data that it has not seen: image classifiers and language models."""

from autoshrink.evaluating.images import evaluate_images
from autoshrink.evaluating.models import ImageModel, open_image_model
from autoshrink.evaluating.targets import evaluate

__all__ = ["ImageModel", "evaluate", "evaluate_images", "open_image_model"]
