"""A meta-graph: how likely each edge and operation of a cell is to be worth it, as what was measured has taught.

After the graph-based searches of Cheng, Zhang and others (SwiftNet, arXiv:1906.08305; MSNet, ICCV Workshops 2019).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Any, Self

from autoshrink.errors import InputError
from autoshrink.spaces import Decision
from autoshrink.strategies.blocks import ABSENT, Choices, Place, is_switch
from autoshrink.untrusted import brief

META_GRAPH_FORMAT = "autoshrink.meta-graph/1"
LEAST, MOST = 0.02, 0.98
"""No option is rarer, or likelier, than that."""
RATE = 0.1
"""How far a weight goes towards what was drawn, for an advantage of one standard deviation."""

_EDGE = re.compile(r"(\d+)-(\d+)")
_NODE = re.compile(r"node (\d+)")

Weights = Mapping[str, Mapping[str, float]]
"""Of every option of every decision, by their names."""


@dataclass(frozen=True)
class MetaGraph:
    """Weights of all options, and the wiring that may be drawn.

    Structural wiring keeps nodes from depending on one another in long chains: every node has a level, an edge goes
    from a lower level to a higher one, and a node reads so many others at most. Nodes have their levels by their
    number, in blocks of about equal size; the input is below all of them. No path is then longer than there are levels.

    Args:
        decisions: of the space.
        weights: of every decision's options, in [`LEAST`, `MOST`], 1 together; 0 of an edge within a level.
        levels: L.
        inputs: how many others a node reads at most.
    """

    decisions: tuple[Decision, ...]
    weights: tuple[tuple[float, ...], ...]
    levels: int
    inputs: int

    @classmethod
    def begun(cls, decisions: tuple[Decision, ...], *, levels: int, inputs: int, known: Weights | None = None) -> Self:
        """One that knows nothing but what another search has learned; all options of a decision are equally likely.

        Raises:
            InputError: what is known is of none of these decisions.
        """
        even = tuple((1 / len(one.options),) * len(one.options) for one in decisions)
        bare = cls(decisions, even, levels, inputs)
        found = [_known(one, known or {}) for one in decisions]
        if known is not None and not any(found):
            here = ", ".join(one.name for one in decisions[:3])
            raise InputError(f"a meta-graph of {brief(sorted(known))} knows none of the decisions here ({here} …)")
        weights = tuple(
            own or even[place] if bare._admissible[place] else tuple(float(one == ABSENT) for one in decision.options)
            for place, (decision, own) in enumerate(zip(decisions, found, strict=True))
        )
        return replace(bare, weights=weights)

    @cached_property
    def _ends(self) -> tuple[tuple[int, int] | None, ...]:
        """Of every decision on an edge, that may be absent, the nodes that it joins."""
        found = ((_EDGE.fullmatch(one.name), one) for one in self.decisions)
        return tuple(
            (int(match[1]), int(match[2])) if match is not None and is_switch(one) else None for match, one in found
        )

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """Those that read others; empty where decisions are not on edges."""
        return tuple(sorted({ends[1] for ends in self._ends if ends is not None}))

    def level(self, node: int) -> int:
        """From 1; 0 of a node that reads nothing."""
        if node not in self.nodes:
            return 0
        return 1 + self.nodes.index(node) * self.levels // len(self.nodes)

    @cached_property
    def _admissible(self) -> tuple[bool, ...]:
        """Of every decision, whether there is something to decide: edges within a level are always absent."""
        return tuple(ends is None or self.level(ends[0]) < self.level(ends[1]) for ends in self._ends)

    @cached_property
    def columns(self) -> tuple[tuple[int, ...], ...]:
        """The decisions that are drawn together, by place: a node's edges and its operation; others one by one.

        A node that only the input can be read by, and that has one operation, is none: nothing is to be decided.
        """
        of_node: dict[object, list[int]] = {}
        for place, decision in enumerate(self.decisions):
            if self._admissible[place]:
                of_node.setdefault(_node_of(decision, place), []).append(place)
        lonely = [own for own in of_node.values() if len(own) == 1 and self._ends[own[0]] is not None]
        return tuple(tuple(own) for own in of_node.values() if own not in lonely)

    # --- drawing -----------------------------------------------------------------------------------------------------

    def drawn(self, choices: Choices, places: Sequence[int], rng: Random) -> Choices:
        """Choices with some decisions drawn anew by the weights, and mended: each node reads another, and not too many.

        Args:
            choices: of all decisions.
            places: those to draw.
            rng: decides.
        """
        found = list(choices)
        for place in places:
            found[place] = rng.choices(range(len(self.weights[place])), self.weights[place])[0]
        for node in self.nodes:
            self._mend(found, node)
        return tuple(found)

    def _mend(self, choices: list[int], node: int) -> None:
        """Let a node read one other at least, and of too many those of the highest weight."""
        own = [at for at, ends in enumerate(self._ends) if ends is not None and ends[1] == node]
        own = sorted((at for at in own if self._admissible[at]), key=lambda at: -self.weights[at][self.present(at)])
        read = [at for at in own if choices[at] == self.present(at)] or own[:1]
        for at in own:
            kept = at in read[: self.inputs]
            choices[at] = self.present(at) if kept else 1 - self.present(at)
        for at, ends in enumerate(self._ends):
            if ends is not None and ends[1] == node and not self._admissible[at]:
                choices[at] = 1 - self.present(at)

    def present(self, place: int) -> int:
        """Of an edge, the option that it is there."""
        return 1 - self.decisions[place].options.index(ABSENT)

    # --- learning ----------------------------------------------------------------------------------------------------

    def learned(self, choices: Choices, places: Sequence[int], advantage: float) -> Self:
        """w ← clip(w + 0.1·advantage·(x − w)) for every option of some decisions, x whether it was chosen."""
        weights = list(self.weights)
        for place in places:
            moved = [
                min(MOST, max(LEAST, weight + RATE * advantage * ((option == choices[place]) - weight)))
                for option, weight in enumerate(weights[place])
            ]
            weights[place] = tuple(weight / sum(moved) for weight in moved)
        return replace(self, weights=tuple(weights))

    def change(self, before: MetaGraph) -> float:
        """Mean absolute difference of all weights that can change."""
        pairs = [
            abs(own - other)
            for place in (at for column in self.columns for at in column)
            for own, other in zip(self.weights[place], before.weights[place], strict=True)
        ]
        return sum(pairs) / max(1, len(pairs))

    # --- pruning -----------------------------------------------------------------------------------------------------

    @property
    def bare(self) -> Choices:
        """No edge, and of everything else the likeliest option."""
        return tuple(
            max(range(len(own)), key=lambda option, own=own: (own[option], -option))  # type: ignore[misc]
            if self._ends[place] is None
            else 1 - self.present(place)
            for place, own in enumerate(self.weights)
        )

    def ranked(self, least: float) -> list[Place]:
        """The edges of at least some weight, by weight, those of the lowest first where they are equal; of each node as
        many as it may read."""
        order = [place for place, ends in enumerate(self._ends) if ends is not None and self._admissible[place]]
        order.sort(key=lambda place: -self.weights[place][self.present(place)])
        read: dict[int, int] = {}
        found = []
        for place in order:
            ends = self._ends[place]
            assert ends is not None, "edges alone"
            read[ends[1]] = read.get(ends[1], 0) + 1
            if read[ends[1]] <= self.inputs and self.weights[place][self.present(place)] >= least:
                found.append((place, self.present(place)))
        return found

    # --- as JSON -----------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the weights by name; edges within a level are left out."""
        weights = {
            one.name: dict(zip(one.options, own, strict=True))
            for one, own, possible in zip(self.decisions, self.weights, self._admissible, strict=True)
            if possible
        }
        return {
            "format": META_GRAPH_FORMAT,
            "levels": {str(node): self.level(node) for node in self.nodes},
            "weights": weights,
        }


def weights_from_json(value: object) -> dict[str, dict[str, float]]:
    """The weights of a meta-graph's JSON object.

    Raises:
        InputError: it is none; the message names the field.
    """
    if not isinstance(value, dict) or value.get("format") != META_GRAPH_FORMAT:
        found = brief(value.get("format")) if isinstance(value, dict) else brief(value)
        raise InputError(f'a meta-graph has "format": "{META_GRAPH_FORMAT}", not {found}')
    weights = value.get("weights")
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"weights: {brief(weights)} are not those of decisions by name")
    for name, options in weights.items():
        numbers = options.values() if isinstance(options, dict) else ()
        if not numbers or any(
            isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one <= 1 for one in numbers
        ):
            raise InputError(f"weights: {brief(name)}: {brief(options)} are not numbers from 0 to 1 by option")
    return {str(name): {str(option): float(one) for option, one in own.items()} for name, own in weights.items()}


def _node_of(decision: Decision, place: int) -> object:
    """What a decision is drawn with: a node's number, or itself."""
    edge, node = _EDGE.fullmatch(decision.name), _NODE.fullmatch(decision.name)
    if edge is not None:
        return int(edge[2])
    return (place, decision.name) if node is None else int(node[1])


def _known(decision: Decision, known: Weights) -> tuple[float, ...] | None:
    """What another meta-graph has of a decision; None where it has not just these options."""
    own = known.get(decision.name, {})
    if set(own) != set(decision.options):
        return None
    kept = [min(MOST, max(LEAST, own[option])) for option in decision.options]
    return tuple(one / sum(kept) for one in kept)
