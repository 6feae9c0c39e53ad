"""Inverted residual blocks: published counts to the unit, second ways to every number, the forward pass, the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from autoshrink import zoo
from autoshrink.architecture import Architecture, BlockName, BlockPlan, Head, MobileArchitecture, MobileStage, Stem
from autoshrink.architecture.mobile import WIDENING
from autoshrink.bundle import TrainedClassifier, load_as, save
from autoshrink.cli import run
from autoshrink.cost import count
from autoshrink.data import Preprocessing
from autoshrink.errors import InputError
from autoshrink.networks import ImageNetwork, build
from model_fixtures import trained_classifier
from stems import stems

# Parameters with and without BN, and MACs by torch's own counter, of the models of these names in timm 1.0.31, seen
# beside ours: all tensors have the same shapes in the same order, and with the same weights the same outputs.
PUBLISHED = {
    "mobilenetv2-1.0": (3_504_872, 3_470_760, 300_774_272),
    "mobilenetv2-1.4": (6_108_776, 6_060_840, 582_195_824),
    "mnasnet-b1": (4_383_312, 4_345_392, 314_415_872),
    "mnasnet-a1": (3_887_038, 3_853_550, 311_579_072),
    "efficientnet-b0": (5_288_548, 5_246_532, 385_814_752),
}


def _stages(block: BlockName) -> st.SearchStrategy[MobileStage]:
    return st.builds(
        MobileStage,
        block=st.just(block),
        blocks=st.integers(1, 3),
        width=st.integers(1, 8),
        expansion=st.sampled_from((1, 1.5, 2, 3, 4)) if block in WIDENING else st.just(1),
        kernel=st.sampled_from((3, 5, 7)),
        stride=st.integers(1, 3),
        squeeze=st.none() | st.sampled_from((0.25, 0.5, 1.0)),
        squeeze_of=st.sampled_from(("input", "expanded")),
        activation=st.sampled_from((None, "relu")),
    )


@st.composite
def _architectures(draw: st.DrawFn) -> MobileArchitecture:
    stages = st.sampled_from(get_args(BlockName)).flatmap(_stages)
    return MobileArchitecture(
        input=(draw(st.sampled_from((1, 3))), draw(st.integers(1, 30)), draw(st.integers(1, 30))),
        classes=draw(st.integers(2, 9)),
        stem=draw(stems(8)),
        stages=tuple(draw(st.lists(stages, min_size=1, max_size=3))),
        head=draw(st.none() | st.builds(Head, channels=st.integers(1, 20))),
        activation=draw(st.sampled_from(("relu6", "relu", "swish"))),
    )


PIXEL = MobileArchitecture(
    input=(1, 1, 1),
    classes=2,
    stem=Stem(channels=1, stride=1),
    stages=(MobileStage(block="basic", width=1, stride=2),),
    activation="swish",
)
"""Whose stride leaves its shape as it is."""


def _mobile(name: str) -> MobileArchitecture:
    found = zoo.get(name)
    assert isinstance(found, MobileArchitecture)
    return found


def _module(architecture: MobileArchitecture) -> ImageNetwork:
    with torch.device("meta"):
        return ImageNetwork(architecture.plan()).eval()


def _image(architecture: MobileArchitecture) -> Tensor:
    return torch.empty(1, *architecture.input, device="meta")


def _recounted(architecture: MobileArchitecture) -> tuple[int, int, int]:
    """Trainable parameters, those without BN, and MACs by torch's own counter (2 FLOPs a MAC)."""
    network = _module(architecture)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(_image(architecture))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    bn = sum(parameter.numel() for norm in norms for parameter in norm.parameters())
    with_bn = sum(parameter.numel() for parameter in network.parameters())
    assert counter.get_total_flops() % 2 == 0
    return with_bn, with_bn - bn, counter.get_total_flops() // 2


# Counts


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_networks_have_the_published_counts(name: str) -> None:
    cost = count(zoo.get(name))
    assert (cost.params_with_bn, cost.params, cost.macs) == PUBLISHED[name]
    assert _recounted(_mobile(name)) == PUBLISHED[name]


def test_stages_of_mobilenetv2_by_hand() -> None:
    """Expand, depthwise and project of each block, from Table 2 of Sandler et al. (2018)."""
    expected = {
        "stem": 9 * 3 * 32,
        "stage1": 9 * 32 + 32 * 16,
        "stage2": (16 * 96 + 9 * 96 + 96 * 24) + (24 * 144 + 9 * 144 + 144 * 24),
        "stage3": (24 * 144 + 9 * 144 + 144 * 32) + 2 * (32 * 192 + 9 * 192 + 192 * 32),
        "stage4": (32 * 192 + 9 * 192 + 192 * 64) + 3 * (64 * 384 + 9 * 384 + 384 * 64),
        "stage5": (64 * 384 + 9 * 384 + 384 * 96) + 2 * (96 * 576 + 9 * 576 + 576 * 96),
        "stage6": (96 * 576 + 9 * 576 + 576 * 160) + 2 * (160 * 960 + 9 * 960 + 960 * 160),
        "stage7": 160 * 960 + 9 * 960 + 960 * 320,
        "head": 320 * 1280,
        "classifier": 1280 * 1000 + 1000,
    }
    counted = dict.fromkeys(expected, 0)
    for layer in count(zoo.get("mobilenetv2-1.0")).layers:
        counted[layer.name.partition(".")[0]] += layer.params
    assert counted == expected


def test_a_resnet_by_hand() -> None:
    """ResNet-8, as MLPerf Tiny has it (Banbury et al. 2021), with BN after the shortcuts: 12.5M MACs."""
    stages = tuple(MobileStage(block="basic", width=width, stride=1 + (width > 16)) for width in (16, 32, 64))
    network = MobileArchitecture(
        input=(3, 32, 32), classes=10, stem=Stem(channels=16, stride=1), stages=stages, activation="relu"
    )
    cost = count(network)
    by_size = {1024: 27 * 16 + 2 * 144 * 16, 256: 144 * 32 + 288 * 32 + 16 * 32, 64: 288 * 64 + 576 * 64 + 32 * 64}
    assert cost.params == sum(by_size.values()) + 64 * 10 + 10
    assert cost.macs == sum(size * weights for size, weights in by_size.items()) + 640
    assert cost.params_with_bn == cost.params + 2 * (3 * 16 + 3 * 32 + 3 * 64)


def test_squeeze_and_excitation_by_hand() -> None:
    """EfficientNet-B0's second block: 16 channels in, 96 of the depthwise, 4 (a quarter of 16) between."""
    layers = {layer.name: layer for layer in count(zoo.get("efficientnet-b0")).layers}
    squeeze, excite = (layers[f"stage2.block1.{part}"] for part in ("squeeze", "excite"))
    assert (squeeze.params, squeeze.macs, squeeze.bn_params) == (96 * 4 + 4, 96 * 4, 0)
    assert (excite.params, excite.macs, excite.bn_params) == (4 * 96 + 96, 4 * 96, 0)
    of_expanded = _mobile("efficientnet-b0").to_json()
    of_expanded["stages"][1] |= {"squeeze_of": "expanded"}
    layers = {layer.name: layer for layer in count(Architecture.from_json(of_expanded)).layers}
    assert layers["stage2.block1.squeeze"].out_channels == 24


@given(_architectures())
@settings(max_examples=40, deadline=None)
def test_counts_agree_with_torchs_counter(architecture: MobileArchitecture) -> None:
    cost = count(architecture)
    assert (cost.params_with_bn, cost.params, cost.macs) == _recounted(architecture)
    names = [layer.name for layer in cost.layers]
    assert len(set(names)) == len(names)
    modules = [module for module in _module(architecture).modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(modules) == len(names)


def _peak_bytes(architecture: MobileArchitecture) -> int:
    """The convention of `autoshrink.cost`, on the traced graph.

    BN, activations, the gate and the addition write over their first input; convolutions, the classifier and means
    make tensors of their own; a tensor is alive from the step that makes it through its last reader's.
    """
    traced = fx.symbolic_trace(_module(architecture))
    ShapeProp(traced).propagate(_image(architecture))
    tensor: dict[fx.Node, int] = {}
    elements: dict[int, int] = {}
    dies: dict[int, int] = {}
    for time, node in enumerate(node for node in traced.graph.nodes if node.op != "output"):
        own = node.op == "placeholder" or getattr(node.target, "__name__", node.target) == "mean"
        if node.op == "call_module":
            own = isinstance(traced.get_submodule(str(node.target)), nn.Conv2d | nn.Linear)
        tensor[node] = time if own else tensor[node.all_input_nodes[0]]
        if own:
            elements[time] = node.meta["tensor_meta"].shape.numel()
        for read in (*node.all_input_nodes, node):
            dies[tensor[read]] = time
    return 4 * max(
        sum(size for born, size in elements.items() if born <= time <= dies[born])
        for time in range(len(traced.graph.nodes))
    )


@given(_architectures())
@settings(max_examples=25, deadline=None)
def test_peak_memory_agrees_with_liveness_over_the_traced_graph(architecture: MobileArchitecture) -> None:
    assert count(architecture).peak_activation_bytes == _peak_bytes(architecture)


def test_peak_memory_by_hand() -> None:
    """MobileNetV2: 96 channels of 112×112 and of 56×56 pixels, float32, while the second stage's depthwise runs."""
    assert count(zoo.get("mobilenetv2-1.0")).peak_activation_bytes == 4 * 96 * (112**2 + 56**2)


# The network


class _Reference:
    """The network from its plan and weights, with nothing but torch's functions."""

    def __init__(self, architecture: MobileArchitecture, weights: dict[str, Tensor]) -> None:
        self._plan, self._weights = architecture.plan(), weights
        self._known: dict[str, Callable[[Tensor], Tensor]] = {
            "relu": lambda x: x.clamp(min=0),
            "relu6": lambda x: x.clamp(0, 6),
            "swish": lambda x: x / (1 + (-x).exp()),
        }

    def _conv_bn(self, x: Tensor, name: str, activation: str | None, *, stride: int = 1) -> Tensor:
        kernel = self._weights[f"{name}.conv.weight"]
        x = functional.conv2d(
            x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=x.shape[1] // kernel.shape[1]
        )
        mean, variance, scale, shift = (
            self._weights[f"{name}.bn.{part}"].view(1, -1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (variance + 1e-5).sqrt() * scale + shift
        return self._known[activation](x) if activation else x

    def _dense(self, x: Tensor, name: str) -> Tensor:
        return x @ self._weights[f"{name}.weight"].flatten(1).T + self._weights[f"{name}.bias"]

    def _excited(self, x: Tensor, name: str, activation: str) -> Tensor:
        if f"{name}.squeeze.weight" not in self._weights:
            return x
        squeezed = self._known[activation](self._dense(x.flatten(2).mean(dim=2), f"{name}.squeeze"))
        return x / (1 + (-self._dense(squeezed, f"{name}.excite")).exp())[:, :, None, None]

    def _block(self, x: Tensor, block: BlockPlan) -> Tensor:
        """Each kind of block as its paper has it."""
        outside = f"blocks.{block.name.replace('.', '_')}"
        place, act, stride = f"{outside}.layers", block.activation, block.stride
        excited, y = partial(self._excited, name=f"{place}.excitation", activation=act), x
        if block.block == "basic":
            y = self._conv_bn(y, f"{place}.dense", act, stride=stride)
            y = excited(self._conv_bn(y, f"{place}.dense2", None))
            # A stride takes a convolution even where it leaves the shape as it is, of a single pixel.
            if stride > 1 or x.shape != y.shape:
                x = self._conv_bn(x, f"{outside}.shortcut", None, stride=stride)
            return self._known[act](x + y)
        if block.block == "separable":
            y = excited(self._conv_bn(y, f"{place}.depthwise", act, stride=stride))
            return self._conv_bn(y, f"{place}.project", act)
        if block.block == "fused":
            y = excited(self._conv_bn(y, f"{place}.dense", act, stride=stride))
        else:
            if f"{place}.expand.conv.weight" in self._weights:
                y = self._conv_bn(y, f"{place}.expand", act)
            y = excited(self._conv_bn(y, f"{place}.depthwise", act, stride=stride))
        if f"{place}.project.conv.weight" in self._weights:
            y = self._conv_bn(y, f"{place}.project", None)
        return x + y if x.shape == y.shape and stride == 1 else y

    def __call__(self, x: Tensor) -> Tensor:
        plan = self._plan
        x = self._conv_bn(x, "stem", plan.activation, stride=plan.stem.stride)
        if plan.stem.separable:
            x = self._conv_bn(self._conv_bn(x, "stem.depthwise", plan.activation), "stem.pointwise", plan.activation)
        x = functional.max_pool2d(x, plan.stem.pool, ceil_mode=True)
        for block in plan.parts:
            x = self._block(x, block)
            assert x.shape[1:] == (block.out_channels, *block.size)
        if plan.head:
            x = self._conv_bn(x, "head", plan.activation)
        return self._dense(x.flatten(2).mean(dim=2), "classifier")


def _lived_in(network: nn.Module) -> nn.Module:
    """In eval mode, with BN statistics, scales, shifts and biases that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                tensor.normal_(generator=generator)
            elif name.endswith(("running_var", "bn.weight")):
                tensor.uniform_(0.5, 2.0, generator=generator)
    return network.eval()


@given(_architectures())
@example(PIXEL)
@settings(max_examples=40, deadline=None)
def test_the_forward_pass_is_the_described_one(architecture: MobileArchitecture) -> None:
    network = _lived_in(build(architecture, seed=3)).double()
    images = torch.randn(2, *architecture.input, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        torch.testing.assert_close(network(images), _Reference(architecture, dict(network.state_dict()))(images))


def test_where_blocks_widen_and_add() -> None:
    blocks = {block.name: block for block in _mobile("mobilenetv2-1.0").plan().parts}
    assert [name for name, block in blocks.items() if not block.expands] == ["stage1.block1"]
    first = [f"stage{number}.block1" for number in range(1, 8)]
    assert [name for name, block in blocks.items() if not block.adds] == first
    assert {name: block.size[0] for name, block in blocks.items() if name in first} == dict(
        zip(first, (112, 56, 28, 14, 14, 7, 7), strict=True)
    )


def test_the_seed_decides_the_weights() -> None:
    small = _mobile("mnasnet-a1").to_json() | {"input": [3, 32, 32], "classes": 4, "head": None}
    architecture = MobileArchitecture.from_json(small)
    one, same, other = (build(architecture, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    weights = [name for name in one if name.endswith((".conv.weight", "squeeze.weight", "excite.weight"))]
    assert len(weights) == 3 + 15 * 3 + 2 * 8
    assert not any(torch.equal(one[name], other[name]) for name in weights)
    assert not any(one[name].any() for name in one if name.endswith(("squeeze.bias", "excite.bias")))


def test_every_weight_learns() -> None:
    value = _mobile("efficientnet-b0").to_json() | {"input": [3, 32, 32], "classes": 4}
    network = build(MobileArchitecture.from_json(value | {"stages": value["stages"][:3]}), seed=0)
    network(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_trained_one_is_written_and_read(tmp_path: Path) -> None:
    value = _mobile("mnasnet-b1").to_json() | {"input": [1, 8, 8], "classes": 2}
    architecture = MobileArchitecture.from_json(value | {"stages": value["stages"][:2]})
    network = _lived_in(build(architecture, seed=0))
    facts = {"epoch": 1, "performance": 0.5, "data": {"spec": "digits"}}
    seen = Preprocessing(channels=1, size=8, mean=(0.5,), std=(0.5,))
    model = trained_classifier(architecture, network, ("even", "odd"), seen, facts)
    save(tmp_path / "model.safetensors", model)
    read = load_as(TrainedClassifier, tmp_path)
    assert read.architecture == architecture
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(read.network(images), network(images))


# The file


@given(_architectures())
@settings(max_examples=30, deadline=None)
def test_files_come_back_as_they_were(architecture: MobileArchitecture) -> None:
    value = json.loads(json.dumps(architecture.to_json()))
    assert Architecture.from_json(value) == architecture
    assert "cell" not in value
    for stage in value["stages"]:
        assert stage.get("block") != "inverted", "as files had it before there were others"
        assert stage.get("activation", "some") is not None


def test_one_network_has_one_key() -> None:
    """Stages are a way to write blocks; an expansion of 6 may be written as 6.0."""
    value = _mobile("mobilenetv2-1.0").to_json()
    written = [dict(value["stages"][1]), dict(value["stages"][1])]
    written[0] |= {"blocks": 1, "expansion": 6.0}
    written[1] |= {"blocks": 1, "stride": 1, "activation": "relu6"}
    stages = [value["stages"][0], *written, *value["stages"][2:]]
    other = MobileArchitecture.from_json(value | {"stages": stages})
    assert other.key == MobileArchitecture.from_json(value).key
    keys = set()
    for changes in ({}, {"kernel": 5}, {"squeeze": 0.25}, {"block": "fused"}, {"activation": "relu"}, {"width": 23}):
        keys.add(MobileArchitecture.from_json(value | {"stages": [value["stages"][0] | changes]}).key)
    assert len(keys) == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel": 4}, "stages.0.kernel: Input should be 3, 5 or 7 (got 4)"),
        ({"squeeze": 0}, "stages.0.squeeze: Input should be greater than 0 (got 0)"),
        ({"squeeze": 1.5}, "stages.0.squeeze: Input should be less than or equal to 1 (got 1.5)"),
        ({"expansion": 0}, "stages.0.expansion: Input should be greater than 0 (got 0)"),
        ({"squeeze_of": "output"}, "stages.0.squeeze_of: Input should be 'input' or 'expanded' (got 'output')"),
        (
            {"block": "dense"},
            "stages.0.block: Input should be 'inverted', 'fused', 'basic' or 'separable' (got 'dense')",
        ),
        (
            {"block": "basic", "expansion": 2},
            "stages.0.expansion: a basic block does not widen; inverted and fused ones do (got 2)",
        ),
        ({"pool": 2}, "stages.0.pool: Extra inputs are not permitted"),
    ],
)
def test_what_a_stage_cannot_be(changes: dict[str, Any], said: str) -> None:
    value = _mobile("mobilenetv2-1.0").to_json()
    value["stages"][0] |= changes
    with pytest.raises(InputError) as raised:
        Architecture.from_json(value)
    assert str(raised.value) == said


def test_what_a_network_cannot_be() -> None:
    value = _mobile("mobilenetv2-1.0").to_json()
    with pytest.raises(InputError, match="stages: Value should have at least 1 item"):
        Architecture.from_json(value | {"stages": []})
    with pytest.raises(InputError, match="cell: "):
        Architecture.from_json(value | {"cell": zoo.get("shrinkcnn-a").to_json()["cell"]})


# The command line


def test_shown_and_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["cost", "mobilenetv2-1.0", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert (counted["params_with_bn"], counted["params"], counted["macs"]) == PUBLISHED["mobilenetv2-1.0"]
    assert run(["show", "EfficientNet_B0"]) == 0
    shown = capsys.readouterr().out
    assert "inverted residual blocks, swish: no cell to draw" in shown
    assert "0.25 of input" in shown
    assert "5,246,532 (5,288,548 with BN)" in shown
    assert run(["show", "mnasnet-a1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == zoo.get("mnasnet-a1").to_json()
    assert run(["show", "mnasnet-a1", "--svg", str(tmp_path / "a.svg")]) == 2
    assert "mnasnet-a1: a mobile architecture has no cell to draw" in capsys.readouterr().err
    assert run(["cost", "mnasnet-a1", "--width", "4"]) == 2
    assert "--width: it goes with language models, and mnasnet-a1 is an image classifier" in capsys.readouterr().err
