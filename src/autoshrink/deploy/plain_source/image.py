"""Image classifiers as readable PyTorch: what every file has, and the network of each kind of architecture."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from autoshrink.architecture import ActivationName, MobileArchitecture, Stem
from autoshrink.bundle import TrainedClassifier
from autoshrink.cost import count
from autoshrink.data import picture
from autoshrink.deploy.plain_source import conv
from autoshrink.deploy.plain_source.layout import PlainSource, filled, listing, quoted
from autoshrink.errors import InputError
from autoshrink.formatting import quantity
from autoshrink.networks import BN_EPSILON

CLASSES_FILE = "classes.json"
MOST_CLASSES = 32
"""In the file itself; more stand in a file of their own."""

ACTIVATIONS: dict[ActivationName, str] = {
    "relu": "nn.ReLU",
    "swish": "nn.SiLU",
    "hardswish": "nn.Hardswish",
    "relu6": "nn.ReLU6",
    "gelu": "nn.GELU",
    "leaky_relu": "partial(nn.LeakyReLU, 0.1)",
}


def render(model: TrainedClassifier) -> PlainSource:
    """``model.py`` and what it reads.

    Raises:
        InputError: the kind of its architecture has no plain form.
    """
    kind = model.architecture.kind
    if kind not in _NETWORKS:
        raise InputError(f"a {kind} network has no plain source in this version; export it as ONNX")
    values = facts(model)
    how = model.preprocessing
    network, names = _NETWORKS[kind](model.architecture)
    activation = network["plan"].activation
    source = filled(
        f"{kind}.py.j2",
        **values,
        **network,
        activation=ACTIVATIONS[activation],
        partial="leaky_relu" in {activation, *network.get("used", ())},
        class_names=listing("CLASSES = ", [quoted(name) for name in model.classes]),
        cropped=how.scaled != how.size,
        epsilon=None if model.facts.bn_epsilon == BN_EPSILON else model.facts.bn_epsilon,
        picture=_picture(),
    )
    texts = {"model.py": source}
    if values["class_file"]:
        texts[CLASSES_FILE] = json.dumps(model.classes, indent=0) + "\n"
    stem = _stem_names(network["plan"].stem)
    tensors = {names(stem(name)): tensor for name, tensor in model.network.state_dict().items()}
    return PlainSource(texts, tensors)


def _stem_names(stem: Stem) -> Callable[[str], str]:
    """What a tensor of the stem is called in the generated file: there a stem of several layers is a row of them."""
    if not stem.separable and stem.pool == 1:
        return lambda name: name
    places = {"depthwise": "1.", "pointwise": "2."}

    def renamed(name: str) -> str:
        first, _, rest = name.partition(".")
        part, _, inner = rest.partition(".")
        if first != "stem":
            return name
        return f"stem.{places[part]}{inner}" if part in places else f"stem.0.{rest}"

    return renamed


def facts(model: TrainedClassifier) -> dict[str, Any]:
    """What ``model.py`` and ``README.md`` both say."""
    cost = count(model.architecture)
    return {
        "sizes": model.architecture.sizes,
        "classes": f"{model.architecture.classes:,}",
        "params": f"{cost.params_with_bn:,}",
        "macs": quantity(cost.macs),
        "class_file": CLASSES_FILE if len(model.classes) > MOST_CLASSES else None,
        "how": model.preprocessing,
    }


def page(model: TrainedClassifier) -> tuple[str, dict[str, Any]]:
    """The template of ``README.md``, and what it says."""
    worth = f"validation accuracy {model.facts.performance or 0.0:.2%}"
    return "image.md.j2", facts(model) | {"names": model.classes, "unit": "an image", "worth": worth}


def _picture() -> str:
    """The functions of `autoshrink.data.picture`, word for word."""
    functions = (picture.to_eight_bits, picture.flattened, picture.prepared)
    return "\n\n".join(inspect.getsource(one) for one in functions)


def _mobile(architecture: MobileArchitecture) -> tuple[dict[str, Any], Callable[[str], str]]:
    plan = architecture.plan()
    places = {block.name.replace(".", "_"): str(place) for place, block in enumerate(plan.parts)}

    def renamed(name: str) -> str:
        match name.split("."):
            case ["blocks", block, "layers", *rest] | ["blocks", block, *rest]:
                return ".".join(["blocks", places[block], *rest])
        return name

    kinds = list(dict.fromkeys(block.block for block in plan.parts))
    facts = {
        "plan": plan,
        "trunk": "blocks",
        "last": plan.parts[-1].out_channels,
        "dilated": False,
        "kinds": {kind: kind.capitalize() if len(kinds) > 1 else "Block" for kind in kinds},
        # Activations other than the network's stand in the blocks' rows.
        "several": any(block.activation != plan.activation for block in plan.parts),
        "activations": ACTIVATIONS,
        "used": {block.activation for block in plan.parts},
    }
    return facts, renamed


_NETWORKS: dict[str, Callable[[Any], tuple[dict[str, Any], Callable[[str], str]]]] = {
    "conv": conv.network,
    "mobile": _mobile,
}
"""By the architecture's kind, from it: its plan what else its template needs, and a tensor's name there."""
