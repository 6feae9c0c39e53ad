"""Image networks behind timm's interface, and in timm itself where it can be imported."""

from __future__ import annotations

import re
import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoshrink import zoo
from autoshrink.architecture import ConvArchitecture, ImageArchitecture, MobileArchitecture, proxy_architecture
from autoshrink.bundle import save
from autoshrink.cell import Cell
from autoshrink.data import Preprocessing
from autoshrink.errors import InputError
from autoshrink.networks import Backbone, build, feature_info
from model_fixtures import trained_classifier

CELL = Cell("conv", ("input", "conv1x1", "sepconv3x3"), ((0, 1), (0, 2), (1, 2)))
SMALL = proxy_architecture(CELL, shape=(3, 12, 12), classes=5, stem=4, widths=(4, 6, 8))


def _mobile() -> MobileArchitecture:
    value = zoo.get("mnasnet-a1").to_json() | {"input": [3, 32, 32], "classes": 5, "head": {"channels": 24}}
    return MobileArchitecture.from_json(value | {"stages": value["stages"][:4]})


BOTH = pytest.mark.parametrize("architecture", [SMALL, _mobile()], ids=["conv", "mobile"])


def _images(architecture: ImageArchitecture, channels: int = 3) -> Tensor:
    shape = (2, channels, *architecture.input[1:])
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _intermediates(backbone: Backbone, images: Tensor, indices: list[int], *, stop: bool = False) -> list[Tensor]:
    found = backbone.forward_intermediates(images, indices, intermediates_only=True, stop_early=stop)
    assert isinstance(found, list)
    return found


# The interface, without timm


@BOTH
def test_weights_go_from_the_network_to_the_backbone_and_the_logits_with_them(architecture: ImageArchitecture) -> None:
    network, backbone = build(architecture, seed=0).eval(), Backbone(architecture).eval()
    images = _images(architecture)
    assert not torch.equal(backbone(images), network(images))
    backbone.load_state_dict(network.state_dict())
    assert torch.equal(backbone(images), network(images))
    features = backbone.forward_features(images)
    assert features.shape[:2] == (2, backbone.num_features)
    assert torch.equal(backbone.forward_head(features), network(images))
    torch.testing.assert_close(backbone.forward_head(features, pre_logits=True), features.flatten(2).mean(dim=2))
    backbone.reset_classifier(5, "max")
    torch.testing.assert_close(backbone.forward_head(features, pre_logits=True), features.flatten(2).amax(dim=2))


@BOTH
def test_classes_and_channels_are_free(architecture: ImageArchitecture) -> None:
    backbone = Backbone(architecture, num_classes=7, in_chans=1)
    assert (backbone.num_classes, backbone.in_chans) == (7, 1)
    assert backbone(_images(architecture, 1)).shape == (2, 7)
    assert Backbone(architecture, num_classes=1)(_images(architecture)).shape == (2, 1)
    bare = Backbone(architecture, num_classes=0).eval()
    assert bare(_images(architecture)).shape == (2, bare.head_hidden_size)
    assert isinstance(bare.get_classifier(), nn.Identity)
    unpooled = Backbone(architecture, num_classes=0, global_pool="").eval()
    assert torch.equal(unpooled(_images(architecture)), unpooled.forward_features(_images(architecture)))


def test_a_new_classifier_suits_the_weights() -> None:
    backbone = Backbone(SMALL).double().eval()
    backbone.reset_classifier(9)
    layer = backbone.get_classifier()
    assert isinstance(layer, nn.Linear)
    assert (layer.weight.shape, layer.weight.dtype, layer.training) == ((9, 2 * 4), torch.float64, False)
    assert not layer.bias.any()
    assert backbone.num_classes == 9


def test_dropout_is_for_training() -> None:
    backbone = Backbone(SMALL, drop_rate=0.5)
    features = torch.ones(64, backbone.num_features, 1, 1)
    dropped = backbone.forward_head(features, pre_logits=True)
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(backbone.eval().forward_head(features, pre_logits=True), torch.ones_like(dropped))


def test_the_global_generator_decides_fresh_weights() -> None:
    torch.manual_seed(3)
    one, other = Backbone(SMALL, num_classes=3).state_dict(), Backbone(SMALL, num_classes=3).state_dict()
    torch.manual_seed(3)
    same = Backbone(SMALL, num_classes=3).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    weights = [name for name in one if name.endswith((".conv.weight", "classifier.weight"))]
    assert not any(torch.equal(one[name], other[name]) for name in weights)


def test_normalisation_is_set() -> None:
    norms = [m for m in Backbone(SMALL, bn_eps=1e-3, bn_momentum=0.01).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize("name", ["shrinkcnn-a", "mobilenetv2-1.0"])
def test_features_of_every_stride(name: str) -> None:
    channels = {"shrinkcnn-a": (24, 48, 88, 176, 360), "mobilenetv2-1.0": (16, 24, 32, 96, 320)}[name]
    info = feature_info(zoo.get(name))
    assert [(level["num_chs"], level["reduction"]) for level in info] == list(
        zip(channels, (2, 4, 8, 16, 32), strict=True)
    )


@BOTH
def test_intermediates_are_what_the_named_modules_give(architecture: ImageArchitecture) -> None:
    backbone, images = Backbone(architecture).eval(), _images(architecture)
    seen: list[Tensor] = []
    for level in backbone.feature_info:
        module = backbone.get_submodule(level["module"])
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    last, taken = backbone.forward_intermediates(images)
    for level, tensor, hooked in zip(backbone.feature_info, taken, seen, strict=True):
        assert torch.equal(tensor, hooked)
        side = -(-architecture.input[1] // level["reduction"])
        assert tensor.shape == (2, level["num_chs"], side, side)
    assert isinstance(last, Tensor)
    assert torch.equal(last, backbone.forward_features(images))
    ends = _intermediates(backbone, images, [0, -1], stop=True)
    assert [tensor.shape for tensor in ends] == [taken[0].shape, taken[-1].shape]
    assert torch.equal(_intermediates(backbone, images, [0], stop=True)[0], taken[0])


@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_pruning_keeps_the_wanted_tensors(data: st.DataObject) -> None:
    architecture = data.draw(st.sampled_from([SMALL, _mobile()]))
    backbone, images = Backbone(architecture).eval(), _images(architecture)
    count = len(backbone.feature_info)
    indices = data.draw(st.lists(st.integers(-count, count - 1), min_size=1, unique_by=lambda index: index % count))
    before = _intermediates(backbone, images, indices)
    kept = backbone.prune_intermediate_layers(indices)
    assert kept == [index % count for index in indices]
    after = _intermediates(backbone, images, kept)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert backbone(images).shape[1] == backbone.num_features == backbone.feature_info[max(kept)]["num_chs"]
    torch.cat([tensor.flatten() for tensor in after]).sum().backward()  # type: ignore[no-untyped-call]
    assert not [name for name, parameter in backbone.named_parameters() if parameter.grad is None]


@BOTH
def test_every_parameter_has_its_depth(architecture: ImageArchitecture) -> None:
    backbone = Backbone(architecture)
    for coarse in (False, True):
        groups = backbone.group_matcher(coarse)
        patterns = [groups["stem"], *(pattern for pattern, _ in groups["blocks"])]
        unmatched = {n for n, _ in backbone.named_parameters() if not any(re.match(p, n) for p in patterns)}
        assert unmatched == {"classifier.weight", "classifier.bias"}


def test_what_cannot_be_asked_of_a_backbone() -> None:
    backbone = Backbone(SMALL)
    with pytest.raises(InputError, match="global_pool 'catavgmax': it is 'avg', 'max' or, with num_classes=0, ''"):
        Backbone(SMALL, global_pool="catavgmax")
    with pytest.raises(InputError, match="global_pool ''"):
        backbone.reset_classifier(3, "")
    with pytest.raises(InputError, match="a lstm architecture is no image network"):
        Backbone(zoo.get("lstm"))
    with pytest.raises(InputError, match="a gru architecture is no image network"):
        feature_info(zoo.get("gru"))
    for wrong in ([3], [], [-4], 4, 0):
        with pytest.raises(InputError, match=r"there are 3, 0 to 2"):
            backbone.forward_intermediates(_images(SMALL), wrong)
    with pytest.raises(InputError, match="output_fmt 'NLC'"):
        backbone.forward_intermediates(_images(SMALL), output_fmt="NLC")
    with pytest.raises(InputError, match="gradient checkpointing"):
        backbone.set_grad_checkpointing()
    backbone.set_grad_checkpointing(False)


def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not tried to import it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "timm"] + ["autoshrink.timm"]:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_without_timm_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _forgotten(monkeypatch)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"needs timm .*: pip install 'autoshrink\[timm\]'"):
        import_module("autoshrink.timm")


def test_a_timm_that_does_not_suit_torch_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _forgotten(monkeypatch)
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"cannot be imported \(operator nms does not exist\).* must suit torch 2"):
        import_module("autoshrink.timm")


# In timm itself


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    """timm with our models; skipped, and said so, where it cannot be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of timm's own imports
            import_module("autoshrink.timm")
    except ImportError as error:
        pytest.skip(str(error))
    return sys.modules["timm"]


@pytest.mark.parametrize("name", ["shrinkcnn_a", "shrinkcnn_b"])
def test_timm_creates_the_released_networks(timm: ModuleType, name: str) -> None:
    model = timm.create_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_636_301
    assert timm.list_models("shrinkcnn*") == ["shrinkcnn_a", "shrinkcnn_b"]
    small = timm.create_model(name, num_classes=10, in_chans=1, drop_rate=0.1)
    assert small(torch.randn(2, 1, 64, 64)).shape == (2, 10)
    config = timm.data.resolve_model_data_config(model)
    assert (
        config
        | {
            "input_size": (3, 224, 224),
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "crop_pct": 0.875,
            "interpolation": "bicubic",
        }
        == config
    )
    assert model.default_cfg["num_classes"] == 1001
    with pytest.raises(RuntimeError, match="No pretrained weights exist for"):
        timm.create_model(name, pretrained=True)


def test_timm_takes_features(timm: ModuleType) -> None:
    model = timm.create_model("shrinkcnn_a", features_only=True, out_indices=(1, 3))
    assert model.feature_info.channels() == [48, 176]
    assert [tuple(x.shape) for x in model(torch.randn(1, 3, 64, 64))] == [(1, 48, 16, 16), (1, 176, 4, 4)]


def test_timm_knows_ones_own(timm: ModuleType) -> None:
    register = import_module("autoshrink.timm").register
    register("test_small", SMALL)
    assert timm.create_model("test_small")(_images(SMALL)).shape == (2, 5)
    register("test_small", _mobile())  # in its place
    assert isinstance(timm.create_model("test_small").trunk[0], type(Backbone(_mobile()).trunk[0]))
    model = timm.create_model("test_small", features_only=True)
    assert model.feature_info.reduction() == [2, 4, 8, 16]
    refused: list[tuple[str, Any, str]] = [
        ("resnet18", SMALL, "resnet18: timm has a model of that name"),
        ("my-net", SMALL, "'my-net': a model's name in timm is made of letters, digits and underscores"),
        ("mine", CELL, "conv: timm takes image architectures, and this is a conv cell"),
        ("mine", "shrinkrnn", "shrinkrnn: timm takes image architectures, and this is a recurrent architecture"),
        ("mine", "no-such.json", "no-such.json: no such file"),
    ]
    for name, model, said in refused:
        with pytest.raises(InputError, match=said):
            register(name, model)
    assert not timm.is_model("mine")


def test_timm_loads_trained_weights(timm: ModuleType, tmp_path: Path) -> None:
    register = import_module("autoshrink.timm").register
    architecture = ConvArchitecture.from_json(SMALL.to_json() | {"input": [1, 12, 12]})
    network = build(architecture, seed=0)
    seen = Preprocessing(channels=1, size=12, mean=(0.3,), std=(0.2,), crop=0.9)
    facts = {"epoch": 1, "performance": 0.5, "data": {"spec": "digits"}, "bn_epsilon": 1e-3}
    trained = trained_classifier(architecture, network.eval(), tuple("abcde"), seen, facts)
    save(tmp_path / "model.safetensors", trained)
    register("test_trained", tmp_path)
    model = timm.create_model("test_trained", pretrained=True).eval()
    for norm in [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]:
        norm.eps = 1e-3
    images = _images(architecture, 1)
    assert torch.equal(model(images), network(images))
    config = timm.data.resolve_model_data_config(model)
    assert (config["mean"], config["std"], config["crop_pct"], config["input_size"]) == (
        (0.3,),
        (0.2,),
        0.9,
        (1, 12, 12),
    )
    assert timm.create_model("test_trained", pretrained=True, num_classes=2)(images).shape == (2, 2)
