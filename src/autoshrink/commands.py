"""What a person, or a script, may tell a search while it goes on: frozen values, their JSON and their words.

Each is one JSON object, the same in a request, in the command file and in the log:

=========  ===========================================================================================================
pin        edge: every cell has it from then on
forbid     edge: no cell has it from then on
unpin      edge: neither pinned nor forbidden any more
op         node, op: the node has this operation from then on, and keeps it
pick       candidate (``"STEP.INDEX"``): go on from it
penalty    penalty: λ of the score from then on
focus      cell, radius: only cells that differ from this one in so many edges and operations at most
note       text: for whoever reads the log
pause      ask for nothing new until ``resume``
resume     go on after ``pause``
stop       measure the finals, then end
cancel     end now, with what there is
undo       take back the last command that was followed and is not taken back yet
=========  ===========================================================================================================

What is followed, and when, is `autoshrink.steering`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)

from autoshrink.architecture import first_problem
from autoshrink.cell import MAX_NODES, Cell, Edge
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.registry import near
from autoshrink.untrusted import LONGEST_NUMBER, brief

LONGEST_NOTE = 2000
"""Characters of a note."""

Node = Annotated[int, Field(ge=0, lt=MAX_NODES)]


def _forward(edge: Edge) -> Edge:
    if not edge[0] < edge[1]:
        raise ValueError(f"an edge goes from a lower node to a higher one, not from {edge[0]} to {edge[1]}")
    return edge


def _cell(value: object) -> object:
    try:
        return value if isinstance(value, Cell) else Cell.from_json(value)
    except InputError as error:
        raise ValueError(str(error)) from error


Wire = Annotated[tuple[Node, Node], Field(strict=False), AfterValidator(_forward)]
Place = Annotated[str, Field(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}$")]
Centre = Annotated[InstanceOf[Cell], BeforeValidator(_cell), PlainSerializer(Cell.to_json)]


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    says: ClassVar[str] = ""

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return self.says

    def to_json(self) -> dict[str, Any]:
        """The JSON object."""
        found = self.model_dump(mode="json")
        return {"command": found.pop("command"), **found}


class _OnEdge(_Command):
    edge: Wire

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"edge {self.edge[0]}-{self.edge[1]} is {self.says}"


class Pin(_OnEdge):
    """Every cell has this edge."""

    command: Literal["pin"] = "pin"

    says = "pinned: every cell has it"


class Forbid(_OnEdge):
    """No cell has this edge."""

    command: Literal["forbid"] = "forbid"

    says = "forbidden: no cell has it"


class Unpin(_OnEdge):
    """This edge is neither pinned nor forbidden any more."""

    command: Literal["unpin"] = "unpin"

    says = "neither pinned nor forbidden any more"


class SetOp(_Command):
    """A node has this operation."""

    command: Literal["op"] = "op"
    node: Annotated[int, Field(ge=1, lt=MAX_NODES)]
    op: Annotated[str, Field(min_length=1, max_length=100)]

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"node {self.node} is {shown(self.op)} and stays that"


class Pick(_Command):
    """Go on from this candidate."""

    command: Literal["pick"] = "pick"
    candidate: Place

    @property
    def place(self) -> tuple[int, int]:
        """Its step, and its index there."""
        step, _, index = self.candidate.partition(".")
        return int(step), int(index)

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"the search goes on from candidate {self.candidate}"


class Penalty(_Command):
    """λ from then on."""

    command: Literal["penalty"] = "penalty"
    penalty: Annotated[float, Field(allow_inf_nan=False, ge=0)]

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"the penalty λ is {self.penalty:g}"


class Focus(_Command):
    """Only cells near this one."""

    command: Literal["focus"] = "focus"
    cell: Centre
    radius: Annotated[int, Field(ge=1, le=10**4)]

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        things = "edge or operation" if self.radius == 1 else "edges and operations"
        return f"only cells that differ from {self.cell} in {self.radius} {things} at most"


class Note(_Command):
    """For whoever reads the log."""

    command: Literal["note"] = "note"
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_NOTE)]

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"note: {shown(self.text, LONGEST_NOTE)}"


class Pause(_Command):
    """Ask for nothing new."""

    command: Literal["pause"] = "pause"

    says = "the search pauses"


class Resume(_Command):
    """Go on after a pause."""

    command: Literal["resume"] = "resume"

    says = "the search goes on"


class Stop(_Command):
    """Measure the finals, then end."""

    command: Literal["stop"] = "stop"

    says = "the search ends after its finals"


class Cancel(_Command):
    """End now."""

    command: Literal["cancel"] = "cancel"

    says = "the search ends now, with what there is"


class Undo(_Command):
    """Take the last command back."""

    command: Literal["undo"] = "undo"

    says = "the last command is taken back"


Command = Pin | Forbid | Unpin | SetOp | Pick | Penalty | Focus | Note | Pause | Resume | Stop | Cancel | Undo
"""Any of them."""
Steers = Pin | Forbid | Unpin | SetOp | Pick | Penalty | Focus
"""Those that ``undo`` takes back."""

NAMES: tuple[str, ...] = tuple(one.model_fields["command"].default for one in get_args(Command))
"""What commands are called."""
_ANY: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


def command_of(value: object) -> Command:
    """The command that a JSON object describes.

    Raises:
        InputError: it is none; the message names the field, or the nearest command.
    """
    if not isinstance(value, Mapping):
        raise InputError(f'a command is a JSON object, {{"command": "forbid", "edge": [1, 4]}}, not {brief(value)}')
    name = value.get("command")
    if not isinstance(name, str) or name not in NAMES:
        raise InputError(f'"command" is one of {", ".join(NAMES)}, not {brief(name)}{near(str(name), NAMES)}')
    try:
        return _ANY.validate_python(dict(value))
    except ValidationError as error:
        raise InputError(f"{name}: {first_problem(error).removeprefix(f'{name}.')}") from error


# --- words -----------------------------------------------------------------------------------------------------------

USAGE: Mapping[str, str] = {
    "pin": "pin 0-3",
    "forbid": "forbid 1-4",
    "unpin": "unpin 1-4",
    "op": "op 3 sepconv3x3",
    "pick": "pick STEP.INDEX",
    "penalty": "penalty 0.05",
    "focus": "focus FILE.cell.json RADIUS",
    "note": 'note "…"',
    **{name: name for name in ("pause", "resume", "stop", "cancel", "undo")},
}
"""How each is said on the command line."""


def _edge(text: str) -> list[int]:
    match = re.fullmatch(r"([0-9]{1,4})-([0-9]{1,4})", text)
    if match is None:
        raise InputError(f"{brief(text)} is no edge; say 1-4 for that from node 1 to node 4")
    return [int(match[1]), int(match[2])]


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputError(f"{brief(text)} is no whole number in plain digits")
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[-+0-9.eE]+", text) or len(text) > LONGEST_NUMBER:
        raise InputError(f"{brief(text)} is no number in plain digits")
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{brief(text)} is no number in plain digits") from None


def _same(text: str) -> str:
    return text


_FIELDS: Mapping[str, tuple[tuple[str, Callable[[str], object]], ...]] = {
    **dict.fromkeys(("pin", "forbid", "unpin"), (("edge", _edge),)),
    "op": (("node", _whole), ("op", _same)),
    "pick": (("candidate", _same),),
    "penalty": (("penalty", _number),),
    "focus": (("cell", _same), ("radius", _whole)),
    "note": (("text", _same),),
}


def command_of_words(words: Sequence[str], read: Callable[[str], object] | None = None) -> Command:
    """The command that words of a command line say: ``["forbid", "1-4"]``.

    Args:
        words: the command's name, and what belongs to it.
        read: gives the JSON of a cell file that ``focus`` names.

    Raises:
        InputError: they are none; the message says how it is said.
    """
    name, *rest = words or ("",)
    if name not in NAMES:
        raise InputError(f"{brief(name)} is no command; there are {', '.join(NAMES)}{near(name, NAMES)}")
    fields = _FIELDS.get(name, ())
    if len(rest) != len(fields):
        raise InputError(
            f"{name} is said as `{USAGE[name]}`; what follows it here are {len(rest)} words, not {len(fields)}"
        )
    value: dict[str, object] = {"command": name}
    for (field, made), text in zip(fields, rest, strict=True):
        try:
            value[field] = made(text)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    if name == "focus" and read is not None:
        value["cell"] = read(str(value["cell"]))
    return command_of(value)
