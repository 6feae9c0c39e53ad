"""The architecture: a cell plus everything around it, as a frozen value that can be written to a file."""

from autoshrink.architecture.base import ARCHITECTURE_FORMAT, Architecture, checked, first_problem, network_of
from autoshrink.architecture.conv import (
    CellPlan,
    ConvArchitecture,
    JoinName,
    Stage,
    proxy_architecture,
)
from autoshrink.architecture.image import Head, ImageArchitecture, NetworkPlan, PartPlan, Stem, image_architecture
from autoshrink.architecture.language import LanguageModel, LibraryArchitecture, language_model
from autoshrink.architecture.mobile import BlockName, BlockPlan, LayerPlan, MobileArchitecture, MobileStage
from autoshrink.architecture.recurrent import (
    AggregateName,
    RecurrentArchitecture,
    RecurrentNode,
    RecurrentPlan,
    recurrent_proxy,
)
from autoshrink.ops import ActivationName, NodePlan

__all__ = [
    "ARCHITECTURE_FORMAT",
    "ActivationName",
    "AggregateName",
    "Architecture",
    "BlockName",
    "BlockPlan",
    "CellPlan",
    "ConvArchitecture",
    "Head",
    "ImageArchitecture",
    "JoinName",
    "LanguageModel",
    "LayerPlan",
    "LibraryArchitecture",
    "MobileArchitecture",
    "MobileStage",
    "NetworkPlan",
    "NodePlan",
    "PartPlan",
    "RecurrentArchitecture",
    "RecurrentNode",
    "RecurrentPlan",
    "Stage",
    "Stem",
    "checked",
    "first_problem",
    "image_architecture",
    "language_model",
    "network_of",
    "proxy_architecture",
    "recurrent_proxy",
]
