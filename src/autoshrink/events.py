"""What an event of a run's log has to be before anything is made of it: types and ranges of every kind's body.

The bodies' meaning stands in `replaying.py`. A field that is not named here is kept as it is, so that a log may say
more than this version reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoshrink.architecture import first_problem
from autoshrink.errors import InputError

Count = Annotated[int, Field(ge=0, le=10**24)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Place = Annotated[list[Count], Field(min_length=2, max_length=2)]


@dataclass(frozen=True)
class Event:
    """One line of the log. `at` is Unix time in seconds; it decides nothing."""

    number: int
    at: float
    kind: str
    body: dict[str, Any]


class _Body(BaseModel):
    """A value of exactly these types: no text for a number, no truth value, no fraction for a count."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Resources(_Body):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Count] = Field(init=False)
    macs: Count
    params: Count
    memory: Count
    cell_params: Count = 0


class _Spent(_Body):
    samples: Count = 0
    images: Count = 0
    training_macs: Count
    seconds: Annotated[Finite, Field(ge=0)]


class _Evaluation(_Body):
    cell: dict[str, Any]
    resources: _Resources
    seed: int
    fidelity: str
    performance: Finite | None
    reason: str | None
    ended: str
    curve: list[Finite]
    correct: str | None
    parts: str | None = None
    spent: _Spent
    rung: Count = 0


class _Created(_Body):
    settings: dict[str, Any]
    environment: dict[str, Any]
    start: dict[str, Any]
    names: dict[str, str] = Field(default_factory=dict)


class _Octave(_Body):
    settings: dict[str, Any]
    start: dict[str, Any]
    names: dict[str, str] = Field(default_factory=dict)


class _Opened(_Body):
    pid: int
    host: str


class _Chance(_Body):
    performance: Finite
    error: Annotated[Finite, Field(ge=0)]


class _Data(_Body):
    name: str = ""
    train: Count = 0
    validation: Count = 0
    chance: _Chance | None = None
    fingerprint: str = ""
    notes: list[str] = Field(default_factory=list)
    classes: list[str] = Field(default_factory=list)
    input: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)] | None = None
    mean: list[Finite] = Field(default_factory=list)
    std: list[Finite] = Field(default_factory=list)
    level: str | None = None
    vocabulary: Count = 0
    sentences: Count | None = None
    unknown_share: Finite | None = None


class _ChangedOp(_Body):
    node: Count
    op: str


class _Changed(_Body):
    what: str
    where: str
    before: str | int | Finite | None
    after: str | int | Finite | None


class _Evaluated(_Body):
    step: Count
    index: Count
    edge: Place | None
    change: _ChangedOp | _Changed | None = None
    evaluation: _Evaluation
    same_as: Place | None
    weights: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class _Decided(_Body):
    step: Count
    index: Count
    runner_up: Count | None
    difference: Finite | None
    standard_error: Finite | None


class _Stopped(_Body):
    reason: str


class _Screened(_Body):
    step: Count
    ranks: list[Annotated[list[str | Finite | None], Field(min_length=2, max_length=2)]]
    spent: _Spent


class _Retrained(_Body):
    round: Count
    index: Count
    evaluation: _Evaluation


class _Remeasured(_Body):
    finalist: str
    repeat: Count
    evaluation: _Evaluation


class _Beside(_Body):
    role: Literal["start", "chain", "random", "hand-made"]
    index: Count
    name: str
    repeat: Count | None
    evaluation: _Evaluation


class _Command(_Body):
    id: Annotated[str, Field(min_length=1, max_length=100)]
    author: Annotated[str, Field(min_length=1, max_length=100)]
    at: Finite
    command: dict[str, Any]
    step: Count
    refused: str | None


class _Finished(_Body):
    best: str | None


_BODIES: dict[str, type[_Body]] = {
    "created": _Created,
    "octave": _Octave,
    "opened": _Opened,
    "data": _Data,
    "evaluated": _Evaluated,
    "decided": _Decided,
    "stopped": _Stopped,
    "screened": _Screened,
    "retrained": _Retrained,
    "remeasured": _Remeasured,
    "beside": _Beside,
    "command": _Command,
    "finished": _Finished,
}


def check_body(event: Event) -> None:
    """Refuse a body that is not what its kind says; kinds without a model here pass.

    Raises:
        InputError: a field is missing, of another type or out of range; the message names it.
    """
    body = _BODIES.get(event.kind)
    if body is None:
        return
    try:
        body.model_validate(event.body)
    except ValidationError as error:
        raise InputError(first_problem(error)) from error
