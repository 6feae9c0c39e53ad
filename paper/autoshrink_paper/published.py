"""What the AutoShrink paper (Zhang et al., AAAI 2020) published, row by row, for setting ours beside it.

Figures and conditions as printed in its tables; where the paper is silent, `silent` says so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of a published table.

    Attributes:
        name: as the paper calls it.
        value: accuracy or perplexity, None where none was published.
        spread: standard deviation over draws, where published.
        params: parameters, as printed.
        macs: multiply-adds, as printed.
    """

    name: str
    value: float | None = None
    spread: float | None = None
    params: str = ""
    macs: str = ""


TABLE_2 = {
    "mobilenetv2-1.4": Published("MobileNetV2 1.4", 74.7, params="6.9M", macs="585M"),
    "mnasnet-a1": Published("MnasNet-A", 75.6, params="4.8M", macs="340M"),
    "efficientnet-b0": Published("EfficientNet-B0", 76.3, params="5.3M", macs="391M"),
    "DARTS": Published("DARTS", 73.3, params="4.7M", macs="574M"),
    "RandWire-WS": Published("RandWire-WS", 74.7, params="5.6M", macs="583M"),
    "shrinkcnn-a": Published("ShrinkCNN-A", 73.9, params="3.6M", macs="384M"),
    "shrinkcnn-b": Published("ShrinkCNN-B", 75.1, params="3.6M", macs="384M"),
}
"""ImageNet top-1 accuracy, %."""

TABLE_3 = {
    "lstm": Published("LSTM", 58.8, params="23M"),
    "rhn": Published("RHN", 65.4, params="23M"),
    "enas-rnn": Published("ENAS", 55.8, params="24M"),
    "darts-rnn": Published("DARTS", 55.7, params="23M"),
    "shrinkrnn": Published("ShrinkRNN", 56.5, params="23M"),
}
"""Penn Treebank test perplexity."""

TABLE_4 = {
    "complete": Published("complete graph, N = 8", 91.56, macs="105.61M"),
    "ws": Published("WS, N = 15", 90.5, 0.41, macs="16.04 ± 2.71M"),
    "er": Published("ER, N = 15", 92.1, 0.38, macs="34.40 ± 16.43M"),
    "ba": Published("BA, N = 15", 90.0, 0.34, macs="32.61 ± 5.96M"),
    "shrink": Published("Shrink cell", 93.22, macs="38.20M"),
}
"""CIFAR-10 test accuracy, %; 10 draws of each random graph."""

TABLE_5 = {
    "complete-rnn": Published("complete graph, N = 6", 63.1, params="33M"),
    "shrinkrnn": Published("ShrinkRNN", 56.5, params="23M"),
}
"""Penn Treebank test perplexity."""

FIGURE_6 = {
    "K=5": Published("K = 5"),
    "K=10": Published("K = 10", macs="1.5 GPU hours"),
    "K=15": Published("K = 15", macs="1.875 GPU hours"),
}
"""How many candidates a step tries, N = 8: the paper reports accuracy nearly unchanged from 10 to 15."""
