"""The shortcut of a cell or block whose input has not the shape of its output.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from torch import Tensor, nn

from autoshrink.ops.layers import conv_bn


class Projection(nn.Sequential):
    """A 1×1 convolution with a stride, and BN: (B, C_in, H, W) to (B, C_out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, channels: tuple[int, int], stride: int) -> None:
        super().__init__()
        for name, module in conv_bn(*channels, activation=None).named_children():
            self.add_module(name, module)
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """The projected first pixel of every square."""
        # The stride is taken here and not in the 1×1 convolution, which comes to the same: oneDNN's backward pass of a
        # strided 1×1 convolution in channels-last memory writes past its buffer for odd batches (torch 2.13, CPU).
        x = x[:, :, :: self._stride, :: self._stride]
        for module in self:
            x = module(x)
        return x

    def take_stride(self) -> None:
        """Take the stride in the convolution: the same output, one operation fewer, for inference alone."""
        convolution = self[0]
        assert isinstance(convolution, nn.Conv2d), "a projection begins with its convolution"
        convolution.stride = (self._stride, self._stride)
        self._stride = 1
