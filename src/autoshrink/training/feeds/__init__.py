"""Image batches for the final training: from memory or streamed from disk, exactly repeatable from any batch on."""

from autoshrink.training.feeds.base import (
    ImageData,
    Loading,
    MeasuringFeed,
    Pictures,
    Share,
    TrainingFeed,
)
from autoshrink.training.feeds.opening import channels_of, open_training_data

__all__ = [
    "ImageData",
    "Loading",
    "MeasuringFeed",
    "Pictures",
    "Share",
    "TrainingFeed",
    "channels_of",
    "open_training_data",
]
