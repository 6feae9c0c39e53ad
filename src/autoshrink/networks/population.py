"""K convolutional networks that differ in their cell's edges as one `torch.nn.Module`.

A convolution of concatenated tensors is a sum of one block of weights for each of them, and so is its depthwise half, a
channel at a time. Here a node concatenates what any candidate has it read; each candidate has zeros for the blocks that
it does not have, and these get no gradient. What lies in channels that a candidate does not have is therefore never
read, and need not be zero.

Shape letters: K candidates, B batch, C channels of one candidate (padded: those of all), H height, W width. Between
layers a tensor is (B, K·C, H, W), channels last in memory: one
normalisation and one depthwise convolution serve all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import ActivationName, Architecture, CellPlan, NetworkPlan, NodePlan
from autoshrink.networks.conv import ConvNetwork
from autoshrink.networks.stacking import Binding, Channels, Stack, State
from autoshrink.ops.layers import ACTIVATIONS, BN_EPSILON, BN_MOMENTUM


def groups(architectures: Sequence[Architecture]) -> list[list[int]]:
    """Positions of those that can be one population: equal but for their cells' edges; ascending, in order."""
    found: dict[str, list[int]] = {}
    for position, architecture in enumerate(architectures):
        value = architecture.to_json()
        frame = value | {"cell": value["cell"] | {"edges": []}}
        found.setdefault(json.dumps(frame, sort_keys=True), []).append(position)
    return list(found.values())


class _ConvBn(Stack):
    """A convolution without bias, and its normalisation: (B, K·C_in, H, W) to (B, K·C_out, H', W').

    Args:
        name: the layer's in a candidate's own network.
        rows: the result's channels.
        columns: what it reads; None for a depthwise convolution, which reads `rows`.
        kernel: height and width of the kernel, pixels.
        stride: in pixels; 1 but for the stem.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self, name: str, rows: Channels, columns: Channels | None, *, kernel: int = 1, stride: int = 1
    ) -> None:
        super().__init__(len(rows.places))
        shape = (self.size, rows.width)
        fan = 1 if columns is None else columns.width
        self.weight = nn.Parameter(torch.zeros(*shape, fan, kernel, kernel))
        # Zero where a candidate lacks the layer: its normalisation is then exactly 0, in training and afterwards.
        self.scale = nn.Parameter(torch.zeros(shape))
        self.shift = nn.Parameter(torch.zeros(shape))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self._stride = stride
        self._depthwise = columns is None
        self.bindings = [
            Binding("weight", f"{name}.conv.weight", rows, columns),
            Binding("scale", f"{name}.bn.weight", rows),
            Binding("shift", f"{name}.bn.bias", rows),
            Binding("mean", f"{name}.bn.running_mean", rows),
            Binding("variance", f"{name}.bn.running_var", rows),
        ]

    def forward(self, x: Tensor, *, shared: bool = False) -> Tensor:
        """Normalised; `shared` says that x is (B, C_in, H, W), the same for all candidates."""
        kernel = self.weight.shape[-1]
        if kernel == 1:
            x = pointwise(x, self.weight.flatten(2))
        else:
            several = self.size * (self.weight.shape[1] if self._depthwise else 1)
            x = functional.conv2d(
                x,
                self.weight.flatten(0, 1),
                stride=self._stride,
                padding=kernel // 2,
                groups=1 if shared else several,
            )
        return functional.batch_norm(
            x,
            self.mean.view(-1),
            self.variance.view(-1),
            self.scale.view(-1),
            self.shift.view(-1),
            training=self.training,
            momentum=BN_MOMENTUM,
            eps=BN_EPSILON,
        )


class _Activation(Stack):
    """One function of (B, K·C, H, W), or for some candidates another."""

    which: Tensor

    def __init__(self, usual: Callable[[], nn.Module], other: Callable[[], nn.Module], others: Sequence[bool]) -> None:
        super().__init__(len(others))
        self._functions = (usual(), other())
        self._others = tuple(others)
        self.register_buffer("which", torch.tensor(others), persistent=False)
        self._settle()

    def forward(self, x: Tensor) -> Tensor:
        """Of x, which may be overwritten."""
        usual, other = self._functions
        if all(self._others):
            result: Tensor = other(x)
        elif not any(self._others):
            result = usual(x)
        else:
            mask = self.which.repeat_interleave(x.shape[1] // self.size, output_size=x.shape[1])
            result = torch.where(mask.view(1, -1, 1, 1), other(x), usual(x))
        return result

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these candidates only."""
        super().keep(positions)
        self._others = tuple(self._others[k] for k in positions)
        self._settle()

    def _settle(self) -> None:
        # Where both are wanted the first must not overwrite what the second reads.
        for function in self._functions:
            if "inplace" in vars(function):
                vars(function)["inplace"] = len(set(self._others)) == 1


class _Node(nn.Module):
    """One operation. A candidate for which it is a leaf ends in the normalisation, and has ReLU after its depthwise
    half."""

    def __init__(
        self, name: str, plans: Sequence[NodePlan | None], inputs: Channels, activation: ActivationName
    ) -> None:
        super().__init__()
        plan = next(plan for plan in plans if plan is not None)
        # A candidate without the node has whatever saves telling candidates apart.
        leaves = [plan.is_leaf if other is None else other.is_leaf for other in plans]
        self.channels = Channels.full(plan.out_channels, [other is not None for other in plans])
        self.depthwise = None
        if plan.op == "sepconv3x3":
            relu = ACTIVATIONS["relu"]
            different = [leaf and activation != "relu" for leaf in leaves]
            self.depthwise = _ConvBn(f"{name}.depthwise", inputs, None, kernel=3)
            self.between = _Activation(ACTIVATIONS[activation], relu, different)
        self.pointwise = _ConvBn(f"{name}.pointwise", self.channels, inputs)
        self.activation = _Activation(ACTIVATIONS[activation], nn.Identity, leaves)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K·C_in, H, W) to (B, K·C_out, H, W)."""
        if self.depthwise is not None:
            x = self.between(self.depthwise(x))
        result: Tensor = self.activation(self.pointwise(x))
        return result


class _Shortcut(Stack):
    """From a cell's input to its output: a projection or the channels as they are, each candidate its own way."""

    selection: Tensor

    def __init__(self, name: str, plans: Sequence[CellPlan], inputs: Channels, outputs: Channels) -> None:
        super().__init__(len(plans))
        projects = [plan.projects for plan in plans]
        self._stride = plans[0].pool
        self.projection = None
        if any(projects):
            self.projection = _ConvBn(name, outputs.only(projects), inputs.only(projects))
        self.moves = not all(projects) and (any(projects) or inputs != outputs)
        selection = torch.zeros(len(plans), *((outputs.width, inputs.width) if self.moves else (0, 0)))
        for k in range(len(plans)):
            if self.moves and not projects[k]:
                selection[k, outputs.places[k], inputs.places[k]] = 1.0
        self.register_buffer("selection", selection, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K·C_in, H, W) to (B, K·C_out, ceil(H / pool), ceil(W / pool))."""
        result = x if self.projection is None else self.projection(x[:, :, :: self._stride, :: self._stride])
        if self.moves:
            # Products with 0 and 1 are exact; gathering instead has a slow deterministic gradient on CUDA.
            moved = pointwise(x, self.selection)
            result = moved if self.projection is None else moved + result
        return result


class _Cell(nn.Module):
    """One cell: (B, K·C_in, H, W) to (B, K·C_out, ceil(H / pool), ceil(W / pool)); the output has a slot for each node
    that is a leaf of any candidate."""

    def __init__(self, name: str, plans: Sequence[CellPlan], inputs: Channels, activation: ActivationName) -> None:
        super().__init__()
        self._pool = plans[0].pool
        channels = {0: inputs}
        self.nodes = nn.ModuleDict()
        self._walk = []
        for node in sorted({node.node for plan in plans for node in plan.nodes}):
            own = [next((one for one in plan.nodes if one.node == node), None) for plan in plans]
            sources = sorted({i for one in own if one is not None for i in one.inputs})
            read = Channels.joined(
                [(channels[i], [one is not None and i in one.inputs for one in own]) for i in sources]
            )
            module = _Node(f"{name}.nodes.node{node}", own, read, activation)
            self.nodes[f"node{node}"] = module
            channels[node] = module.channels
            self._walk.append((f"node{node}", node, sources))
        self._leaves = sorted({leaf for plan in plans for leaf in plan.leaves})
        slots = [(channels[leaf], [leaf in plan.leaves for plan in plans]) for leaf in self._leaves]
        self.outputs = Channels.joined(slots)
        self.shortcut = _Shortcut(f"{name}.shortcut", plans, inputs, self.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Slots, plus the shortcut from before the pooling."""
        size = self.shortcut.size
        tensors = {0: x if self._pool == 1 else functional.max_pool2d(x, self._pool, ceil_mode=True)}
        for name, node, sources in self._walk:
            tensors[node] = self.nodes[name](_concat([tensors[i] for i in sources], size))
        shortcut: Tensor = self.shortcut(x)
        return shortcut + _concat([tensors[leaf] for leaf in self._leaves], size)


class _Classifier(Stack):
    """(B, K·C) to (K, B, classes)."""

    def __init__(self, classes: int, inputs: Channels) -> None:
        size = len(inputs.places)
        super().__init__(size)
        outputs = Channels.full(classes, [True] * size)
        self.weight = nn.Parameter(torch.zeros(size, classes, inputs.width))
        self.bias = nn.Parameter(torch.zeros(size, classes))
        self.bindings = [
            Binding("weight", "classifier.weight", outputs, inputs),
            Binding("bias", "classifier.bias", outputs),
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        features = x.view(len(x), self.size, -1).transpose(0, 1)
        return torch.baddbmm(self.bias[:, None], features, self.weight.transpose(1, 2))


class ConvPopulation(nn.Module):
    """K `ConvNetwork`s as one program: images to logits (K, B, classes).

    Each computes what it computes alone, and gets the same gradients, but for rounding.

    Args:
        plans: of architectures that are one group of `groups`.
        networks: one for each plan, of one type and on one device; their weights are copied.
    """

    batches: Tensor

    def __init__(self, plans: Sequence[NetworkPlan], networks: Sequence[ConvNetwork]) -> None:
        super().__init__()
        plan, everyone = plans[0], [True] * len(plans)
        self.stem = _ConvBn(
            "stem",
            Channels.full(plan.stem.channels, everyone),
            Channels.full(plan.input[0], everyone),
            kernel=3,
            stride=plan.stem.stride,
        )
        never = [False] * len(plans)
        self.stem_activation = _Activation(ACTIVATIONS[plan.activation], nn.Identity, never)
        channels = self.stem.bindings[0].rows
        self.cells = nn.ModuleList()
        for cells in zip(*(plan.cells for plan in plans), strict=True):
            module = _Cell(f"cells.{cells[0].name.replace('.', '_')}", cells, channels, plan.activation)
            self.cells.append(module)
            channels = module.outputs
        self.head = None
        if plan.head is not None:
            features = Channels.full(plan.features, everyone)
            self.head = _ConvBn("head", features, channels)
            self.head_activation = _Activation(ACTIVATIONS[plan.activation], nn.Identity, never)
            channels = features
        self.classifier = _Classifier(plan.classes, channels)
        states = [network.state_dict() for network in networks]
        self.register_buffer("batches", torch.zeros(len(plans), dtype=torch.long))
        for k, state in enumerate(states):
            self.batches[k] = state["stem.bn.num_batches_tracked"]
        self.to(networks[0].classifier.weight)
        for stack in self._stacks():
            stack.load(states)

    @property
    def size(self) -> int:
        """K."""
        return self.classifier.size

    def forward(self, images: Tensor) -> Tensor:
        """Logits (K, B, classes); images are (B, C, H, W), seen by all, or (K, B, C, H, W), to each its own."""
        shared = images.dim() == 4
        if not shared:
            images = images.transpose(0, 1).flatten(1, 2)
        if self.training:
            self.batches += 1
        x = self.stem(images.contiguous(memory_format=torch.channels_last), shared=shared)
        x = self.stem_activation(x.contiguous(memory_format=torch.channels_last))
        for cell in self.cells:
            x = cell(x)
        if self.head is not None:
            x = self.head_activation(self.head(x))
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits

    def names(self) -> list[str]:
        """What each of `parameters()` is called in a `ConvNetwork`."""
        own = {
            id(getattr(stack, binding.attribute)): binding.name
            for stack in self._stacks()
            for binding in stack.bindings
        }
        return [own[id(parameter)] for parameter in self.parameters()]

    def absent(self) -> list[Tensor]:
        """For each of `parameters()`, which of its elements belong to no candidate: they are to stay zero."""
        found = {}
        for stack in self._stacks():
            for binding in stack.bindings:
                tensor = getattr(stack, binding.attribute)
                mask = torch.ones(tensor.shape, dtype=torch.bool)
                for k in range(stack.size):
                    mask[binding.index(k)] = False
                found[id(tensor)] = mask.to(tensor.device)
        return [found[id(parameter)] for parameter in self.parameters()]

    def export(self, k: int) -> State:
        """The k-th candidate's `ConvNetwork.state_dict()`, copied."""
        state: State = {}
        for stack in self._stacks():
            state |= stack.export(k)
        counters = [name.replace("running_mean", "num_batches_tracked") for name in state if "running_mean" in name]
        return state | {name: self.batches[k].clone() for name in counters}

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these candidates (ascending) only. Parameters stay the same objects; their gradients go."""
        for stack in self._stacks():
            stack.keep(positions)
        for parameter in self.parameters():
            parameter.grad = None
        self.batches = self.batches[list(positions)]

    def _stacks(self) -> list[Stack]:
        return [module for module in self.modules() if isinstance(module, Stack)]


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """A 1×1 convolution of each candidate: x (B, K·C_in, H, W), weight (K, C_out, C_in) to (B, K·C_out, H, W).

    One batched matrix product: the weights of a grouped convolution are too few a group for its kernels.
    """
    batch, _, height, width = x.shape
    size, outputs, _ = weight.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch * height * width, size, -1).transpose(0, 1)
    result = torch.bmm(rows, weight.transpose(1, 2)).transpose(0, 1)
    return result.reshape(batch, height, width, size * outputs).permute(0, 3, 1, 2)


def _concat(tensors: list[Tensor], size: int) -> Tensor:
    """Each candidate's channels concatenated: a list of (B, K·C_i, H, W) to (B, K·ΣC_i, H, W)."""
    if len(tensors) == 1:
        return tensors[0]
    batch, _, height, width = tensors[0].shape
    where = (batch, height, width)
    apart = [tensor.permute(0, 2, 3, 1).reshape(*where, size, -1) for tensor in tensors]
    return torch.cat(apart, dim=4).flatten(3).permute(0, 3, 1, 2)
