"""Scripts that steer a search: told its record after every step, they say commands, which the log keeps.

An analyst is any function of a record that gives commands (`autoshrink.obeying.Analyst`); told the same it has to say
the same, so that a killed search goes on as if undisturbed. These say which edges go by what blocks are worth (Tyagi et
al., IEEE TVCG 2022), in any search for cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from autoshrink.cell import Edge
from autoshrink.commands import Command, Forbid
from autoshrink.errors import InputError
from autoshrink.record import RunRecord
from autoshrink.spaces import space_of
from autoshrink.spaces.constraints import Constraints
from autoshrink.strategies.analyst import Cutting
from autoshrink.strategies.blocks import Block, told_of, worths


@dataclass(frozen=True)
class CuttingEdges:
    """Forbids edges: every few steps a share of those that are left, the least fit first, or, blind, any.

    An edge without which no cell would be left, or one that is pinned, stays.

    Attributes:
        cutting: which share, how often, and by what.
    """

    cutting: Cutting = field(default_factory=Cutting)

    def __call__(self, record: RunRecord) -> Sequence[Command]:
        """See `autoshrink.obeying.Analyst`."""
        step = record.decisions[-1].step if record.decisions else 0
        asked = [_edge(str(arguments["block"])) for _, arguments in self.cutting(edge_blocks(record), step)]
        space = space_of(record.settings, record.start, record.data)
        held, found = record.steering.constraints, list[Command]()
        for edge in asked:
            tried = Constraints(held.pinned, held.forbidden | {edge}, held.ops, held.centre, held.radius)
            try:
                space.constrained(tried)
            except InputError:
                continue
            held = tried
            found.append(Forbid(edge=edge))
        return tuple(found)


def edge_blocks(record: RunRecord) -> tuple[Block, ...]:
    """What the edges that no command has settled are worth by all candidates after the start.

    Raises:
        InputError: the search is for no cells.
    """
    space = space_of(record.settings, record.start, record.data).constrained(record.steering.constraints)
    later = (one.evaluation for one in record.candidates if one.step)
    blocks = worths(space.decisions, told_of(space, later, record.settings.score))
    return tuple(one for one in blocks if not one.name.startswith("node "))


def _edge(name: str) -> Edge:
    tail, _, head = name.partition("-")
    return int(tail), int(head)
