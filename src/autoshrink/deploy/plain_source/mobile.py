"""A network of inverted residual blocks (MobileNetV2, MnasNet, EfficientNet-B0) as readable PyTorch, a row a block."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from autoshrink.architecture import BlockPlan, MobileArchitecture, MobilePlan
from autoshrink.bundle import TrainedClassifier
from autoshrink.deploy.plain_source import image
from autoshrink.deploy.plain_source.python import PlainSource, fill, table

CONSTANTS = """
STEM = $stem  # channels of the first convolution
# channels in, expanded, ${squeezed}out; kernel, stride
$blocks
${head}ACTIVATION = $activation
"""

EXCITATION = '''
class SqueezeExcite(nn.Module):
    """Each channel times a gate in (0, 1) that the means of all channels decide."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.activation = ACTIVATION()
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.excite(self.activation(self.squeeze(means))).sigmoid()
'''

BLOCK = '''
class Block(nn.Module):
    """Widen, filter every channel by itself, narrow; plus the input where it fits."""

    def __init__(
        self,
        in_channels: int,
        expanded: int,
$squeezed_argument        out_channels: int,
        kernel: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.expand = nn.Identity()
        if expanded != in_channels:
            self.expand = ConvBN(in_channels, expanded, ACTIVATION)
        self.depthwise = ConvBN(
            expanded,
            expanded,
            ACTIVATION,
            kernel=kernel,
            stride=stride,
            groups=expanded,
        )
$squeezed_layer        self.project = ConvBN(expanded, out_channels, nn.Identity)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        y = self.depthwise(self.expand(x))
        y = self.project($gated)
        return x + y if self.adds else y
'''

SQUEEZED_LAYER = """
        self.excitation = nn.Identity()
        if squeezed:
            self.excitation = SqueezeExcite(expanded, squeezed)
"""

NETWORK = '''
class Network(nn.Module):
    """Images (B, $channels, INPUT_SIZE, INPUT_SIZE) to logits (B, len(CLASSES))."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN($channels, STEM, ACTIVATION, kernel=3, stride=$stride)
        self.blocks = nn.Sequential(*(Block(*row) for row in BLOCKS))
$head        self.classifier = nn.Linear($features, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits: before softmax, one for each of CLASSES."""
        x = self.blocks(self.stem(x))
$apply_head        return self.classifier(x.mean(dim=(2, 3)))
'''


def render(model: TrainedClassifier, architecture: MobileArchitecture) -> PlainSource:
    """``model.py`` with what it reads, for a classifier of inverted residual blocks."""
    plan = architecture.plan()
    squeezes = any(block.squeezed for block in plan.blocks)
    blocks = [
        image.head(model, plan.activation) + "\n" + _constants(plan, squeezes),
        image.conv_bn(model),
        *([fill(EXCITATION)] if squeezes else []),
        fill(
            BLOCK,
            squeezed_argument="        squeezed: int,\n" if squeezes else "",
            squeezed_layer=fill(SQUEEZED_LAYER) if squeezes else "",
            gated="self.excitation(y)" if squeezes else "y",
        ),
        _network(plan),
        image.tail(model),
    ]
    texts = {"model.py": "\n\n".join(blocks)} | image.companions(model)
    return PlainSource(texts, dict(_renamed(model.network, plan)))


def _constants(plan: MobilePlan, squeezes: bool) -> str:
    return fill(
        CONSTANTS,
        stem=plan.stem.channels,
        squeezed="squeezed (0: without), " if squeezes else "",
        blocks=table("BLOCKS = ", (_row(block, squeezes) for block in plan.blocks)),
        head=f"HEAD = {plan.head.channels}  # channels before the global pooling\n" if plan.head else "",
        activation=image.ACTIVATIONS[plan.activation],
    )


def _row(block: BlockPlan, squeezes: bool) -> str:
    channels = [block.in_channels, block.expanded, *([block.squeezed or 0] if squeezes else []), block.out_channels]
    return f"({', '.join(map(str, [*channels, block.kernel, block.stride]))})"


def _network(plan: MobilePlan) -> str:
    last = plan.blocks[-1].out_channels
    return fill(
        NETWORK,
        channels=plan.input[0],
        stride=plan.stem.stride,
        head=f"        self.head = ConvBN({last}, HEAD, ACTIVATION)\n" if plan.head else "",
        features="HEAD" if plan.head else last,
        apply_head="        x = self.head(x)\n" if plan.head else "",
    )


def _renamed(network: nn.Module, plan: MobilePlan) -> Iterator[tuple[str, Tensor]]:
    """The network's tensors by their names in the generated file."""
    positions = {block.name.replace(".", "_"): str(place) for place, block in enumerate(plan.blocks)}
    for name, tensor in network.state_dict().items():
        match name.split("."):
            case ["blocks", block, "layers", *rest]:
                yield ".".join(["blocks", positions[block], *rest]), tensor
            case _:
                yield name, tensor
