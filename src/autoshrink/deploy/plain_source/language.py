"""Language models as readable PyTorch: the cell's equations a node a statement, torch's own LSTM or GRU, or minGRU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from autoshrink.architecture import RecurrentNode, RecurrentPlan
from autoshrink.bundle import TrainedLanguageModel
from autoshrink.cost import count
from autoshrink.deploy.plain_source.layout import PlainSource, filled, total
from autoshrink.formatting import quantity
from autoshrink.metrics import PERPLEXITY
from autoshrink.ops import recurrent

VOCABULARY_FILE = "vocabulary.json"


def render(model: TrainedLanguageModel) -> PlainSource:
    """``model.py`` and what it reads."""
    plan = getattr(model.architecture, "plan", None)
    cell: dict[str, Any] = {"plan": None} if plan is None else _cell(plan())
    vocabulary = model.vocabulary
    source = filled(
        "language.py.j2",
        **facts(model),
        **cell,
        architecture=model.architecture,
        kind=model.architecture.kind,
        # A text whose lines had no end of their own was read as one.
        lines=vocabulary.counts[vocabulary.end] > 0,
    )
    tokens = json.dumps(vocabulary.tokens, indent=0, ensure_ascii=False) + "\n"
    return PlainSource({"model.py": source, VOCABULARY_FILE: tokens}, dict(_renamed(model)))


def facts(model: TrainedLanguageModel) -> dict[str, Any]:
    """What ``model.py`` and ``README.md`` both say."""
    return {
        "sizes": model.architecture.sizes,
        "params": f"{count(model.architecture).params_with_bn:,}",
        "rule": model.vocabulary.rule,
        "vocabulary_file": VOCABULARY_FILE,
    }


def page(model: TrainedLanguageModel) -> tuple[str, dict[str, Any]]:
    """The template of ``README.md``, and what it says."""
    vocabulary = model.vocabulary
    return "language.md.j2", facts(model) | {
        "macs": quantity(count(model.architecture).macs),
        "unit": "a token",
        "worth": f"validation perplexity {PERPLEXITY.value(model.facts.performance or 0.0):.2f}",
        "tokens": f"{len(vocabulary):,}",
        "unknown": vocabulary.tokens[vocabulary.unknown],
        "end": vocabulary.tokens[vocabulary.end],
    }


def _cell(plan: RecurrentPlan) -> dict[str, Any]:
    sources = [recurrent(name).plain() for name in dict.fromkeys(node.op for node in plan.nodes)]
    states = [f"s{node}" for node in plan.outputs]
    lines = [_node(node, plan) for node in plan.nodes]
    if len(states) > 1:
        lines.append(total("h", states, len(states), indent=2))
    return {
        "plan": plan,
        "definitions": [source.definition for source in sources if source.definition],
        "nodes": lines,
        "output": states[0] if len(states) == 1 else "h",
    }


def _node(node: RecurrentNode, plan: RecurrentPlan) -> str:
    terms = [f"highway(s{i}, self.edge_{i}_{node.node}(s{i}), {recurrent(node.op).call})" for i in node.inputs]
    return total(f"s{node.node}", terms, len(terms) if plan.aggregate == "mean" else 1, indent=2)


def _renamed(model: TrainedLanguageModel) -> Iterator[tuple[str, Tensor]]:
    """The network's tensors by their names in the generated file; a cell's matrices as `nn.Linear` has them."""
    for name, tensor in model.network.state_dict().items():
        match name.split("."):
            case ["embedding"]:
                yield "embedding.weight", tensor
            case ["core", "input_weight"]:
                yield "cell.input.weight", tensor.t()
            case ["core", "edges", edge]:
                yield f"cell.edge_{edge.replace('-', '_')}.weight", tensor.t()
            case ["core", "module", library]:
                yield f"{model.architecture.kind}.{library}", tensor
            case _:
                yield name, tensor
