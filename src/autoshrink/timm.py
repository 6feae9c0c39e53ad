"""Image networks for timm: importing this module makes `timm.create_model` know ``shrinkcnn_a`` and ``shrinkcnn_b``.

    import autoshrink.timm, timm
    model = timm.create_model("shrinkcnn_a", num_classes=10)

`register` adds architectures of one's own, and trained models with their weights. timm looks for models in its own
package alone (as of 1.0.31 it reads no entry points), so the import is needed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from autoshrink.architecture import Architecture, ImageArchitecture, image_architecture
from autoshrink.bundle import TrainedClassifier, load_as, model_path
from autoshrink.cell import Cell
from autoshrink.errors import InputError
from autoshrink.loading import load
from autoshrink.networks import Backbone, feature_info

try:
    from timm.models import build_model_with_cfg, generate_default_cfgs, is_model, register_model
except ModuleNotFoundError as error:
    raise ImportError(f"autoshrink.timm needs timm ({error}): pip install 'autoshrink[timm]'") from error
except (ImportError, RuntimeError, AttributeError) as error:
    raise ImportError(
        f"timm is installed but cannot be imported ({error}); "
        f"it and what it builds on must suit torch {torch.__version__}"
    ) from error

__all__ = ["register"]

default_cfgs: dict[str, Any] = {}
"""By model name; where timm's `register_model` looks."""

_entries: dict[str, Callable[..., torch.nn.Module]] = {}


def __getattr__(name: str) -> Callable[..., torch.nn.Module]:
    """A registered model's function, as in timm's own modules."""
    if name in _entries:
        return _entries[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register(name: str, model: Architecture | str | os.PathLike[str]) -> None:
    """Make an image network known to timm; a name registered here before is replaced.

    Args:
        name: for `timm.create_model`: letters, digits and underscores.
        model: an architecture, a name in the zoo, an architecture file, or a folder with a trained model (or its
            ``model.safetensors``). Of a trained model timm also knows the preprocessing, and
            ``create_model(name, pretrained=True)`` loads the weights.

    Raises:
        InputError: timm has a model of that name, the name is none, or the model is no image classifier.
    """
    if not name.isidentifier():
        raise InputError(f"{name!r}: a model's name in timm is made of letters, digits and underscores")
    if is_model(name) and name not in _entries:
        raise InputError(f"{name}: timm has a model of that name; choose another")
    architecture, config, defaults = _resolved(model)
    levels = len(feature_info(architecture))

    def entry(pretrained: bool = False, **kwargs: Any) -> torch.nn.Module:
        built: torch.nn.Module = build_model_with_cfg(
            partial(Backbone, architecture),
            name,
            pretrained,
            feature_cfg={"feature_cls": "getter", "out_indices": tuple(range(levels))},
            **(defaults | kwargs),
        )
        return built

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"{architecture.sizes}, {architecture.classes} classes."
    default_cfgs.update(generate_default_cfgs({name: config}))
    _entries[name] = entry
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f"Overwriting {name} in registry", category=UserWarning)
        register_model(entry)


def _resolved(
    model: Cell | Architecture | str | os.PathLike[str],
) -> tuple[ImageArchitecture, dict[str, Any], dict[str, float]]:
    """The architecture, what timm is told about it, and defaults for the network."""
    if isinstance(model, Cell | Architecture):
        return *_described(model, model.kind), {}
    path = Path(model)
    if not path.is_dir() and path.suffix != ".safetensors":
        return *_described(load(model), str(model)), {}
    trained = load_as(TrainedClassifier, path)
    architecture, config = _described(trained.architecture, str(path))
    seen = trained.preprocessing
    config |= {"mean": seen.mean, "std": seen.std, "crop_pct": seen.crop, "label_names": trained.classes}
    return architecture, config | {"file": str(model_path(path))}, {"bn_eps": trained.facts.bn_epsilon}


def _described(model: Cell | Architecture, what: str) -> tuple[ImageArchitecture, dict[str, Any]]:
    architecture = image_architecture(model, f"{what}: timm")
    channels = architecture.input[0]
    return architecture, {
        "input_size": architecture.input,
        "num_classes": architecture.classes,
        "mean": (0.5,) * channels,
        "std": (0.5,) * channels,
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "first_conv": "stem.conv",
        "classifier": "classifier",
    }


for _name in ("shrinkcnn_a", "shrinkcnn_b"):
    register(_name, _name)
