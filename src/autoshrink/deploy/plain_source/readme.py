"""The page beside a written network: what it is, how it is used and trained further, and how it was checked."""

from __future__ import annotations

import math
from collections.abc import Iterable

from autoshrink.bundle import TrainedClassifier, TrainedLanguageModel
from autoshrink.cost import count
from autoshrink.data import Preprocessing, Vocabulary
from autoshrink.deploy.parity import Parity
from autoshrink.deploy.plain_source import image, text
from autoshrink.deploy.plain_source.python import fill
from autoshrink.escaping import code
from autoshrink.formatting import quantity
from autoshrink.version import __version__

PAGE = """
# $title

$trained Written by autoshrink $version, which is not needed to use it.

| file | what it is |
| --- | --- |
| `model.py` | the network, as plain PyTorch |
| `model.safetensors` | its weights |
$companion
$params trainable parameters, $macs multiply-accumulates $unit.

## Use it

```console
pip install $packages
$command
```

```python
$example
```

$inputs

## Train it further

```python
import torch
from model import load
from safetensors.torch import save_file

network = load().train()
optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
# … your training loop …
save_file(network.state_dict(), "model.safetensors")
```

$training

## How it was checked

`model.py` was run on real samples in a process in which autoshrink could not be imported, and its logits were compared
with those of the network that was trained: $parity.
"""

CLASSIFIER_EXAMPLE = """
import torch
from PIL import Image
from model import CLASSES, load, preprocess

network = load()
with torch.inference_mode():
    logits = network(preprocess(Image.open("photo.jpg")).unsqueeze(0))
print(CLASSES[logits.argmax()])"""

LANGUAGE_EXAMPLE = """
import torch
from model import END, TOKENS, encode, generate, load

print(generate("the beginning of a text", length=20))

network = load()
with torch.inference_mode():
    state = network.initial_state(batch=1)
    logits, state = network(torch.tensor([END, *encode("the")]).unsqueeze(1), state)
print(TOKENS[logits[-1, 0].argmax()])"""


def page(model: TrainedClassifier | TrainedLanguageModel, parity: Parity) -> str:
    """The text of ``README.md``."""
    cost = count(model.architecture)
    parts = {
        "params": f"{cost.params_with_bn:,}",
        "macs": quantity(cost.macs),
        "parity": parity,
        "version": __version__,
    }
    return fill(PAGE, **parts, **(_classifier(model) if isinstance(model, TrainedClassifier) else _language(model)))


def _classifier(model: TrainedClassifier) -> dict[str, str]:
    own_file = image.in_own_file(model)
    classes = f"listed in `{image.CLASSES_FILE}`" if own_file else _listed(model.classes)
    return {
        "title": f"An image classifier of {len(model.classes):,} classes, {model.architecture.sizes} pixels",
        "trained": _trained(model, f"validation accuracy {model.facts.performance or 0.0:.2%}"),
        "companion": f"| `{image.CLASSES_FILE}` | the names of its classes, in the order of its logits |\n" * own_file,
        "unit": "an image",
        "packages": "torch safetensors Pillow",
        "command": "python model.py photo.jpg",
        "example": fill(CLASSIFIER_EXAMPLE),
        "inputs": f"{_preprocessing(model.preprocessing)}\n\nThe classes are {classes}.",
        "training": "Batch normalisation is kept, not folded into the convolutions, so that training can go on.",
    }


def _language(model: TrainedLanguageModel) -> dict[str, str]:
    vocabulary = model.vocabulary
    perplexity = math.exp(min(-(model.facts.performance or 0.0), 700.0))
    return {
        "title": f"A language model: {model.architecture.sizes}",
        "trained": _trained(model, f"validation perplexity {perplexity:.2f}"),
        "companion": f"| `{text.VOCABULARY_FILE}` | its tokens; a token's number is its place |\n",
        "unit": "a token",
        "packages": "torch safetensors",
        "command": 'python model.py "the beginning of a text"',
        "example": fill(LANGUAGE_EXAMPLE),
        "inputs": _cutting(vocabulary),
        "training": "Dropout is no part of the file: it belongs to the training.",
    }


def _trained(model: TrainedClassifier | TrainedLanguageModel, worth: str) -> str:
    spec = model.facts.data.spec or "data unknown"
    return f"Trained on {code(spec)} (epoch {model.facts.epoch}, {worth})."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))


def _preprocessing(preprocessing: Preprocessing) -> str:
    kind = "grey" if preprocessing.channels == 1 else "RGB"
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    deep = (
        ""
        if preprocessing.window is None
        else "scales values {:,.6g} to {:,.6g} of images of more than 8 bits to 0 to 255, ".format(
            *preprocessing.window
        )
    )
    return (
        f"`preprocess` makes an image upright (EXIF), {deep}puts it on white where it is transparent, converts it to "
        f"{kind}, scales its shorter side to {preprocessing.scaled} pixels (bicubic), crops the centre of "
        f"{preprocessing.size} × {preprocessing.size}, and normalises pixels in [0, 1] by mean {mean} and standard "
        f"deviation {std}."
    )


def _cutting(vocabulary: Vocabulary) -> str:
    how = {"spaces": "words at white space", "words": "words, numbers and signs", "characters": "characters"}
    return (
        f"`encode` cuts a text into {how[vocabulary.rule]}; what is not among the {len(vocabulary):,} tokens is "
        f"{code(vocabulary.tokens[vocabulary.unknown])}, and a line ends with "
        f"{code(vocabulary.tokens[vocabulary.end])}."
    )
