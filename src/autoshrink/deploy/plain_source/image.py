"""What the generated file of every image classifier has around its network."""

from __future__ import annotations

import inspect
import json

from autoshrink.architecture import ActivationName
from autoshrink.bundle import TrainedClassifier
from autoshrink.cost import count
from autoshrink.data import picture
from autoshrink.deploy.plain_source.python import fill, import_lines, listing, quoted
from autoshrink.formatting import quantity
from autoshrink.networks import BN_EPSILON
from autoshrink.version import __version__

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

HEAD = '''
"""An image classifier: $sizes pixels in, $classes classes out.

$params trainable parameters, $macs multiply-accumulates an image.
Written by autoshrink $version, which is not needed here: the network takes torch and
safetensors, reading images takes Pillow.

    python model.py photo.jpg

    from model import CLASSES, load, preprocess

    network = load()  # the trained weights, in evaluation mode
    logits = network(preprocess(image).unsqueeze(0))  # image: a PIL image
"""

from __future__ import annotations

$imports

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

try:
    from PIL import Image, ImageOps
except ImportError:  # the network itself does without
    Image = ImageOps = None

HERE = Path(__file__).parent

$class_names

INPUT_SIZE = $size  # pixels, height and width
$resize$mean
$std
WINDOW = $window  # values of images of more than 8 bits that become 0 and 255
'''

CONV_BN = '''
class ConvBN(nn.Module):
    """A convolution, batch normalisation, and an activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: Callable[[], nn.Module],
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
$option    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=$padding,
$dilation            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels$epsilon)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return self.activation(self.bn(self.conv(x)))
'''

LOAD = '''
def load(path: str | Path = HERE / "model.safetensors") -> Network:
    """The network with its trained weights, in evaluation mode."""
    network = Network()
    network.load_state_dict(load_file(path))
    return network.eval()


$picture

def preprocess(image: Image.Image) -> Tensor:
    """A picture of any size as the network's input, ($channels, INPUT_SIZE, INPUT_SIZE)."""
    image = prepared(image, $scaled, "$mode", WINDOW)
$crop    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    pixels = pixels.view(INPUT_SIZE, INPUT_SIZE, $channels).permute(2, 0, 1) / 255
    mean, std = torch.tensor(MEAN).view(-1, 1, 1), torch.tensor(STD).view(-1, 1, 1)
    return (pixels - mean) / std


@torch.inference_mode()
def main() -> None:
    """Print the likeliest classes of the image files named on the command line."""
    if len(sys.argv) < 2:
        sys.exit("usage: python model.py IMAGE ...")
    network = load()
    for path in sys.argv[1:]:
        with Image.open(path) as image:
            chances = network(preprocess(image).unsqueeze(0)).softmax(dim=1)[0]
        print(path)
        for index in chances.argsort(descending=True)[:5].tolist():
            print(f"  {chances[index]:6.1%}  {CLASSES[index]}")


if __name__ == "__main__":
    main()
'''

CROP = """
    margin = (RESIZE - INPUT_SIZE) // 2
    image = image.crop((margin, margin, margin + INPUT_SIZE, margin + INPUT_SIZE))
"""


def head(model: TrainedClassifier, activation: ActivationName) -> str:
    """The file's beginning, up to the constants of its input."""
    architecture, preprocessing = model.architecture, model.preprocessing
    cost = count(architecture)
    imports = ["import sys", "from collections.abc import Callable", "from pathlib import Path"]
    imports += ["import json"] if in_own_file(model) else []
    imports += ["from functools import partial"] if activation == "leaky_relu" else []
    resized = preprocessing.scaled != preprocessing.size
    return fill(
        HEAD,
        sizes=architecture.sizes,
        classes=f"{architecture.classes:,}",
        params=f"{cost.params_with_bn:,}",
        macs=quantity(cost.macs),
        version=__version__,
        imports=import_lines(imports),
        class_names=_class_names(model),
        size=preprocessing.size,
        resize=f"RESIZE = {preprocessing.scaled}  # shorter side before the centre is cropped\n" if resized else "",
        mean=f"{_channels('MEAN', preprocessing.mean)}  # of each channel, in [0, 1]",
        std=_channels("STD", preprocessing.std),
        window=preprocessing.window,
    )


def conv_bn(model: TrainedClassifier, *, dilated: bool = False) -> str:
    """The layer that all kinds are made of."""
    return fill(
        CONV_BN,
        epsilon="" if model.facts.bn_epsilon == BN_EPSILON else f", eps={model.facts.bn_epsilon!r}",
        option="        dilation: int = 1,\n" if dilated else "",
        padding="dilation * (kernel // 2)" if dilated else "kernel // 2",
        dilation="            dilation=dilation,\n" if dilated else "",
    )


def tail(model: TrainedClassifier) -> str:
    """The file's end: loading, preprocessing, predictions on the command line."""
    preprocessing = model.preprocessing
    cropped = preprocessing.scaled != preprocessing.size
    return fill(
        LOAD,
        channels=preprocessing.channels,
        scaled="RESIZE" if cropped else "INPUT_SIZE",
        picture=_picture(),
        mode="L" if preprocessing.channels == 1 else "RGB",
        crop=CROP.removeprefix("\n") if cropped else "",
    )


def companions(model: TrainedClassifier) -> dict[str, str]:
    """The files that ``model.py`` reads beside its weights."""
    return {CLASSES_FILE: json.dumps(model.classes, indent=0) + "\n"} if in_own_file(model) else {}


def _picture() -> str:
    """The functions of `autoshrink.data.picture`, word for word."""
    functions = (picture.to_eight_bits, picture.flattened, picture.prepared)
    return "Window = tuple[float, float]\n\n\n" + "\n\n".join(inspect.getsource(one) for one in functions)


def in_own_file(model: TrainedClassifier) -> bool:
    """Whether the class names are too many for ``model.py``."""
    return len(model.classes) > MOST_CLASSES


def _class_names(model: TrainedClassifier) -> str:
    if in_own_file(model):
        return f'CLASSES = json.loads((HERE / "{CLASSES_FILE}").read_text(encoding="utf-8"))'
    return listing("CLASSES = ", [quoted(name) for name in model.classes])


def _channels(name: str, values: tuple[float, ...]) -> str:
    return f"{name} = [{', '.join(map(repr, values))}]"
