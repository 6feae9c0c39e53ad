"""What a run found, in figures and sentences: the best cell against the starting cell, and what the figures rest on.

Which cells `best`, `complete` and `front` are, the record says (`autoshrink.record`); here they are put into words, for
the terminal, the JSON and the report alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoshrink.design import Design, edges_of, name_of
from autoshrink.errors import InputError
from autoshrink.escaping import shown
from autoshrink.evaluation import EvaluatorWords
from autoshrink.formatting import THIN, change, count, number, quantity, signed
from autoshrink.metrics import Metric, metric_of, shown_resources, step_metric
from autoshrink.record import CLEAR, Beside, Candidate, Figures, RunRecord
from autoshrink.registry import FILTERS
from autoshrink.resources import RESOURCES
from autoshrink.score import FormulaName, Spent


def evaluator_words(record: RunRecord) -> EvaluatorWords:
    """How what the run's evaluator did is said."""
    found = record.kind.words
    return replace(found, note=found.note.format(metric=metric_of(record.settings).name))


def filter_name(record: RunRecord) -> str:
    """What the score is called by which a step's candidates were chosen; empty where they were drawn."""
    return "" if record.settings.filter == "none" else FILTERS[record.settings.filter].name


# --- the best cell against the starting cell -------------------------------------------------------------------------


@dataclass(frozen=True)
class Gain:
    """The best cell against the starting cell.

    Attributes:
        performance: difference of the means.
        error: its standard error over fresh seeds; None unless both were measured at least twice.
        score: difference of S.
        score_error: its standard error over fresh seeds; None as for `error`.
    """

    performance: float
    error: float | None
    score: float
    score_error: float | None = None

    @property
    def clear(self) -> bool | None:
        """Whether the difference in S is more than two standard errors; None where there is no saying."""
        return None if self.score_error is None else abs(self.score) > CLEAR * self.score_error

    @property
    def verdict(self) -> str:
        """That in words."""
        return {True: "more than noise", False: "within noise", None: "one seed, which may be noise"}[self.clear]

    def score_words(self) -> str:
        """The difference in S, and whether it is noise: ``S +0.0123 ± 0.0040, more than noise``."""
        error = "" if self.score_error is None else f" ± {number(self.score_error, 4)}"
        return f"S {signed(self.score, 4)}{error}, {self.verdict}"


def gain(best: Figures, start: Figures) -> Gain:
    """The best cell minus the starting cell, both measured alike."""
    seeds = len(best.repeats)
    error = _error((best.performance_sd, start.performance_sd), seeds)
    score_error = _error((best.score_sd, start.score_sd), seeds)
    return Gain(best.performance - start.performance, error, best.score - start.score, score_error)


def _error(deviations: tuple[float | None, float | None], trainings: int) -> float | None:
    """Standard error of the difference of two means over so many trainings each, from their standard deviations."""
    first, second = deviations
    return None if first is None or second is None else math.hypot(first, second) / math.sqrt(trainings)


@dataclass(frozen=True)
class Headline:
    """One figure of the best cell, and the starting cell's where that is another one.

    Attributes:
        title: what it is.
        value: the figure itself.
        shown: the figure as text.
        spread: its standard deviation over fresh seeds as text, or nothing.
        change: how it differs from the starting cell's, or nothing.
        reference: the starting cell's figure as text, or nothing.
        worse: whether that difference is one for the worse.
    """

    title: str
    value: float
    shown: str
    spread: str = ""
    change: str = ""
    reference: str = ""
    worse: bool = False

    def against(self, shift: str, reference: str, better: float, error: str = "") -> Headline:
        """With the difference to the starting cell; `better` is by how much that is an improvement."""
        # A change that is too small to be shown is none for the worse.
        worse = better < 0 and not shift.startswith("±")
        return replace(self, change=shift + error, reference=reference, worse=worse)


def headlines(record: RunRecord) -> tuple[Headline, ...]:
    """Performance, S and costs of the best cell; nothing before there is one."""
    best, start = record.best(), record.complete()
    if best is None:
        return ()
    other = None if start is None or start.design.key == best.design.key else start
    costs = (cost_headline(name, best, other) for name in shown_resources(record.settings))
    return (
        performance_headline(metric_for(record, best), best, other),
        score_headline(best, other),
        *(one for one in costs if one is not None),
    )


def performance_headline(metric: Metric, best: Figures, other: Figures | None) -> Headline:
    """Performance in the metric's terms, against the starting cell's if `other` is given."""
    mean, deviation = best.performance, best.performance_sd
    spread = "" if deviation is None else metric.error(deviation, mean)
    found = Headline(metric.name, metric.value(mean), metric.write(mean), spread)
    if other is None:
        return found
    difference = gain(best, other)
    shift = f"{metric.shift(mean, other.performance)} {metric.difference_unit}".rstrip()
    error = "" if difference.error is None else f" (s.e.{THIN}{metric.error(difference.error, mean)})"
    reference = metric.measured(other.performance, other.performance_sd)
    return found.against(shift, reference, difference.performance, error)


def score_headline(best: Figures, other: Figures | None) -> Headline:
    """S, against the starting cell's."""
    found = Headline("score S", best.score, number(best.score, 3))
    if other is None or not math.isfinite(best.score - other.score):
        return found
    return found.against(signed(best.score - other.score, 3), number(other.score, 3), best.score - other.score)


def cost_headline(name: str, best: Figures, other: Figures | None) -> Headline | None:
    """A resource, against the starting cell's; None where the log does not say it."""
    resource, new = RESOURCES[name], best.recorded.resources[name]
    old = 0 if other is None else other.recorded.resources[name]
    if new == 0:
        return None
    title = resource.title + (f" per {metric_of(best.design).sample}" if resource.per_sample else "")
    found = Headline(title, new, resource.unit.short(new))
    return found.against(change(new, old), resource.unit.short(old), old - new) if old else found


# --- what people told it ---------------------------------------------------------------------------------------------


def commanded(record: RunRecord) -> Mapping[str, Sequence[str]]:
    """The commands of a run, as columns of text by their heads: what was said, by whom, and what became of it."""
    told = [one for part in record.parts for one in part.commands]
    return {
        "from step": [str(one.step) for one in told],
        "by": [shown(one.author) for one in told],
        "command": [one.command.sentence for one in told],
        "refused": [one.refused or "" for one in told],
    }


def forced(record: RunRecord) -> tuple[str, ...]:
    """Where commands let a search go on otherwise than it would have, and what is named for them, in sentences."""
    found = []
    for part in record.parts:
        for one in part.forced():
            score, preferred = part.settings.score, one.preferred
            text = f"Forced from step {one.step} on by {shown(one.by.author)}: {one.reason}"
            if one.picked is not None:
                text += f" (S {number(score(one.picked.evaluation), 4)})"
            text += f"; the search preferred candidate {preferred.step}.{preferred.index}"
            found.append(f"{text}, S {number(score(preferred.evaluation), 4)}.")
    best, other = record.best(), record.unforced() if record.steering.constraints else None
    if other is not None and (best is None or best.design.key != other.design.key):
        found.append(f"Without the commands {other.design} would be named, S {number(other.score, 4)}.")
    if len(record.penalties) > 1:
        held = ", ".join(f"{penalty:g} from step {step} on" for step, penalty in record.penalties)
        found.append(f"The penalty λ was {held}; all scores here are by the last.")
    for end in record.ends:
        found.append(f"The run had ended before ({end.stopped}), and goes on from a picked candidate.")
    return tuple(found)


# --- what stands beside it, at equal cost ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What was measured at equal cost with the same fresh seeds.

    Attributes:
        role: ``found``, the best that the search itself measured; ``start``, ``chain``, ``random``, ``hand-made``.
        what: the same in words.
        of: of how many it is the best.
        figures: what it was worth.
        against: its S and performance minus those of what was found; None for that itself.
    """

    role: str
    what: str
    of: int
    figures: Figures
    against: Gain | None

    @property
    def error(self) -> float | None:
        """Standard error of the mean performance; None below two seeds."""
        return _standard_error(self.figures.performance_sd, len(self.figures.repeats))

    @property
    def score_error(self) -> float | None:
        """Standard error of the mean S; None below two seeds."""
        return _standard_error(self.figures.score_sd, len(self.figures.repeats))


def beside(record: RunRecord) -> tuple[Row, ...]:
    """What the search found, and what was measured beside it; nothing where nothing was."""
    found, measured = record.found(), record.beside_figures()
    if found is None or not found.repeats or not measured:
        return ()
    same = start_name(record, found.design) if record.is_start(found.design) else f"found {noun(record)}"
    rows = [Row("found", same, 1, found, None)]
    # At a budget the starts cost the same, and have names.
    others = [one for one in record.measured_again() if one.design.key in record.names]
    rows += [
        Row("hand-made", start_name(record, one.design), 1, one, gain(one, found))
        for one in others
        if one.design.key != found.design.key
    ]
    for one, figures in measured:
        rows.append(Row(one.role, role_words(record, one), drawn(record, one), figures, gain(figures, found)))
    return tuple(rows)


def drawn(record: RunRecord, one: Beside) -> int:
    """Of how many of its role something that stands beside is the best."""
    return max(1, sum(other.role == one.role and other.repeat is None for other in record.beside))


def role_words(record: RunRecord, one: Beside) -> str:
    """What something that stands beside is: ``chain of 3 operations``, ``best of 3 random cells``."""
    design, number = one.evaluation.design, drawn(record, one)
    if design.key in record.names:
        return start_name(record, design)
    if one.role == "start":
        return f"{start_name(record, record.start)} at the same cost"
    if one.role == "chain":
        nodes = edges_of(getattr(design, "cell", None) or design)
        return f"chain of {count(nodes or 0, 'operation')}"
    if one.role == "random":
        return f"best of {number} random {noun(record)}s" if number > 1 else f"random {noun(record)}"
    return f"hand-made {one.name}"


def why_alone(record: RunRecord) -> str:
    """Why nothing stands beside what a finished run names; nothing where something does, or nothing was asked for."""
    settings, best = record.settings, record.best()
    asked = settings.beside and settings.choice == "all"
    if not (record.finished and asked and best) or beside(record):
        return ""
    if not settings.repeats:
        return "nothing was measured beside it at equal cost, since there are no fresh seeds (--repeats 0)"
    if settings.times:
        return "nothing was measured beside it at equal cost: what other widths take is not known"
    if settings.stop.seconds is not None:
        return "nothing was measured beside it at equal cost: time ran out"
    return "nothing was measured beside it at equal cost: no other network of that cost could be made"


def _standard_error(deviation: float | None, trainings: int) -> float | None:
    return None if deviation is None else deviation / math.sqrt(trainings)


MANY_OCTAVES = 5
"""So many figures a sentence has room for."""

# --- in one sentence -------------------------------------------------------------------------------------------------


def start_word(record: RunRecord) -> str:
    """What to call the start: the complete graph if it is, or what the best of several is called."""
    best = record.complete() or record.starting()
    return start_name(record, best.design if best else record.start)


def start_name(record: RunRecord, design: Design) -> str:
    """What to call one of the starts."""
    if record.names:
        return f"hand-made {record.names.get(design.key, 'network')}"
    first = record.starting()
    start = record.start if first is None else first.design
    nodes = len(getattr(start, "ops", ()))
    complete = edges_of(start) == nodes * (nodes - 1) // 2
    return "complete graph" if complete else f"starting {noun(record)}"


def noun(record: RunRecord) -> str:
    """What the search proposes, in a word."""
    return "network" if edges_of(record.start) is None else "cell"


def best_file(design: Design) -> str:
    """The file in which a run leaves the best: ``best.cell.json``, of a network ``best.arch.json``."""
    return f"best.{name_of(design).replace('architecture', 'arch')}.json"


def budget_name(record: RunRecord) -> str:
    """The budget of a search at one, as it names files: ``500k``; over a range of budgets the largest."""
    name = record.settings.budget.ranged or next(iter(record.settings.budget.given()))
    return RESOURCES[name].unit.named(record.settings.budget.given()[name])


def budget_words(record: RunRecord) -> str:
    """That budget in words: ``500k MACs``, ``64KiB peak memory``; several with commas between them."""
    limits = record.settings.budget.given()
    return ", ".join(f"{RESOURCES[name].unit.named(limits[name])} {RESOURCES[name].title}" for name in limits)


def budget_file(record: RunRecord) -> str:
    """The file in which a search over a range leaves the best at a budget: ``best-500k.arch.json``."""
    return f"best-{budget_name(record)}.arch.json"


def at_budget(record: RunRecord, name: str) -> RunRecord:
    """The search at one budget of a range, by its name: ``500k``.

    Raises:
        InputError: there is none; the message names those that there are.
    """
    known = {budget_name(one).lower(): one for one in record.octaves}
    if name.strip().lower() not in known:
        there = f"those so far are {', '.join(map(budget_name, record.octaves))}" if known else "the run has no range"
        raise InputError(f"--budget {name}: no such budget; {there}")
    return known[name.strip().lower()]


def called(record: RunRecord, design: Design) -> str:
    """A design of the run in a few words: ``3 of 28 edges``."""
    edges, of = edges_of(design), edges_of(record.start)
    return str(design) if edges is None or of is None else f"{edges} of {count(of, 'edge')}"


def headline(record: RunRecord) -> str:
    """What was found, in one sentence; only what was measured alike is compared."""
    if record.octaves:
        return _over_range(record)
    best, complete = record.best(), record.complete()
    if best is None:
        return _nothing_yet(record)
    start, metric = start_word(record), metric_for(record, best)
    if record.is_start(best.design) or record.role(best.design) is not None:
        return _nothing_better(record, best, start)
    found = called(record, best.design)
    if not best.from_scratch:
        return f"{found}, chosen by estimates alone: nothing was trained from scratch"
    if complete is None:
        first = record.starting()
        failed = first is not None and first.failed
        unlike = "failed" if failed else "was not measured alike, so they are not compared"
        return f"{found}: {metric.name} {metric.write(best.performance)}; the {start} {unlike}"
    return _compared(record, best, complete, found)


Octave = tuple[RunRecord, Figures, Figures | None]
"""The search at one budget of a range, the best there, and the best hand-made network that was measured alike."""


def octave_rows(record: RunRecord) -> list[Octave]:
    """Every budget of a range that is done with something named, smallest first."""
    found = [(one, one.best(), one.complete()) for one in record.octaves if one.finished]
    return [(one, best, start) for one, best, start in found if best is not None]


def as_good_before(rows: Sequence[Octave]) -> list[str | None]:
    """For every budget, that of the best network of a smaller one where it is at least as good: it makes this one
    useless."""
    found: list[str | None] = []
    for place, (_, best, _) in enumerate(rows):
        smaller = max(rows[:place], key=lambda one: one[1].judged, default=None)
        found.append(budget_name(smaller[0]) if smaller is not None and smaller[1].judged >= best.judged else None)
    return found


def octave_verdicts(rows: Sequence[Octave]) -> list[tuple[str, str]]:
    """For every budget by how much the best is better than the best hand-made network, and what to make of it."""
    found = []
    for row, smaller in zip(rows, as_good_before(rows), strict=True):
        difference, said = _octave_verdict(*row)
        found.append((difference, said if smaller is None else f"{said}; no better than at {smaller}"))
    return found


def _octave_verdict(record: RunRecord, best: Figures, start: Figures | None) -> tuple[str, str]:
    other = record.role(best.design)
    if other is not None:
        return "", role_words(record, other)
    if record.is_start(best.design):
        return "", "hand-made"
    if start is None:
        return "", "no hand-made one was measured alike"
    found, metric = gain(best, start), metric_of(record.settings)
    return metric.difference(best.performance, start.performance, found.error, fine=True), found.verdict


def _over_range(record: RunRecord) -> str:
    """The best at every budget, or at the first and the last of many, and at how many nothing hand-made is as good."""
    done = octave_rows(record)
    if not done:
        return headline(record.octaves[0])
    metric, resource = metric_of(record.settings), RESOURCES[record.settings.budget.ranged or ""].title
    said = [f"{metric.write(best.performance)} at {budget_name(one)}" for one, best, _ in done]
    if len(said) > MANY_OCTAVES:
        said = [said[0], "…", said[-1]]
    gains = [gain(best, start) for one, best, start in done if start is not None and not one.is_start(best.design)]
    clear = sum(bool(one.clear) for one in gains)
    return (
        f"{metric.name.capitalize()} {', '.join(said)} {resource}: better than the hand-made networks at {len(gains)} "
        f"of {count(len(done), 'budget')}" + (f", at {clear or 'none'} by more than noise" if gains else "")
    )


def _compared(record: RunRecord, best: Figures, complete: Figures, found: str) -> str:
    """The best cell against the starting cell, which was measured alike and is another one."""
    start, metric = start_word(record), metric_of(record.settings)
    error = gain(best, complete).error
    gained = metric.gained(best.performance, complete.performance, error) + (" (one seed)" if error is None else "")
    compared = f"{_cheaper(record, best, complete)}, {gained}"
    if best.score > complete.score:
        return f"{found}: {compared}"
    if record.settings.limits.broken_by(complete.recorded.resources) is not None:
        return f"{found}, the best within the limits: {compared}, and no higher S than the {start}, which breaks them"
    return f"Nothing better than the {start} was found: {found} have {compared}, and no higher S"


def _the(record: RunRecord, one: Beside) -> str:
    """What stands beside and is best, with its article."""
    words = role_words(record, one)
    if one.role == "chain" and not record.names:
        return f"a plain {words}"
    return f"a {words}" if words.startswith("random ") else f"the {words}"


def best_word(record: RunRecord, best: Figures) -> str:
    """What to call the best in a table: ``best cell``, or the start or what else it is."""
    other = record.role(best.design)
    if other is not None:
        return role_words(record, other)
    return start_word(record) if record.is_start(best.design) else f"best {noun(record)}"


def _nothing_better(record: RunRecord, best: Figures, start: str) -> str:
    other = record.role(best.design)
    if other is not None:
        return f"The search found nothing better than {_the(record, other)}" + ("" if record.finished else " so far")
    if not record.finished:
        return f"Nothing better than the {start} so far"
    if other_cells(record):
        return f"The search found nothing better than the {start}"
    ended = "time ran out" if record.settings.stop.seconds is not None else record.stopped
    if not best.from_scratch:
        return f"Nothing was trained from scratch: {ended}"
    if len(record.names) > 1:
        measured = len({one.design.key for one in record.candidates if not one.evaluation.failed})
        some = "the" if measured == len(record.names) else f"{measured} of the {len(record.names)}"
        return f"Nothing but {some} starts was measured, of which the {start} is the best: {ended}"
    return f"Nothing but the {start} was {'trained from scratch' if record.settings.estimates else 'measured'}: {ended}"


def other_cells(record: RunRecord) -> int:
    """How many cells but the starting one were trained from scratch without failing."""
    found = [one.evaluation for one in record.retrained]
    found += [one for repeats in record.remeasured.values() for one in repeats]
    if not record.settings.estimates:
        found += [one.evaluation for one in record.candidates]
    return len({one.design.key for one in found if not one.failed and not record.is_start(one.design)})


def _cheaper(record: RunRecord, best: Figures, start: Figures) -> str:
    resource = record.settings.score.weighs
    old, new = (record.settings.score.cost(one.recorded.resources) for one in (start, best))
    if old == new:
        return f"{'as many' if resource.unit.countable else 'the same'} {resource.title}"
    less = "fewer" if resource.unit.countable else "less"
    return f"{change(new, old).lstrip('−+±')} {less if new < old else 'more'} {resource.title}"


def _nothing_yet(record: RunRecord) -> str:
    chance, metric = record.chance, metric_of(record.settings)
    if record.at_chance and chance is not None:
        found = metric.write(max(one.performance for one in record.rivals()))
        return (
            f"Nothing was learned: no cell can be told from guessing ({metric.name} {found} at best, "
            f"guessing {metric.measured(chance.performance, chance.error or None)})"
        )
    if record.finished:
        return "No candidate could be used"
    return "Estimates only so far: no cell was trained from scratch" if record.usable() else "No usable cell yet"


def status(record: RunRecord) -> str:
    """Where the run stands, in words."""
    if record.finished:
        return "finished"
    if record.octaves:
        of = count(len(record.settings.budget.octaves()), "budget")
        return f"unfinished: {sum(one.finished for one in record.octaves)} of {of} are done"
    if record.stopped and record.settings.estimates and not record.remeasured:
        return "unfinished: the steps are done, the playoff is not over"
    if record.stopped:
        measured = (
            "what stands beside the best is being measured"
            if record.beside
            else "the best cells are being measured again"
        )
        return f"unfinished: the search ended, {measured}"
    if not record.decisions:
        return "unfinished: nothing decided yet"
    return f"unfinished: {count(record.decisions[-1].step, 'step')} so far"


_FORMULA: dict[FormulaName, tuple[str, str, str]] = {
    "paper": ("{performance}", "{resource} / 10⁶", "Eq. 5"),
    "released-text": ("¼·(200 − perplexity)", "|E|·n² / 10⁶", "as the released search of recurrent cells"),
}
"""Of each formula what is gained, what it costs, and where it comes from."""


def formula(record: RunRecord) -> str:
    """How this run's S is made, with its λ."""
    settings = record.settings
    unit = settings.score.weighs.unit.name
    resource = settings.score.weighs.title + (f" in {unit}" if unit else "")
    performance = metric_of(settings).symbol
    gained, cost, _ = (part.format(performance=performance, resource=resource) for part in _FORMULA[settings.formula])
    if settings.penalty == 0:
        return f"S = {gained}"
    penalty = "" if settings.penalty == 1 else f"{settings.penalty:g}·"
    return f"S = {gained} − {penalty}log₁₀({cost})"


def formula_source(record: RunRecord) -> str:
    """Where that formula comes from, in symbols."""
    parts = (part.format(performance="Perf", resource="Res") for part in _FORMULA[record.settings.formula])
    gained, cost, source = parts
    return f"{source}, S = {gained} − λ·log₁₀({cost})"


# --- what figures rest on --------------------------------------------------------------------------------------------


def metric_for(record: RunRecord, figures: Figures) -> Metric:
    """What the performance among the figures is."""
    return metric_of(record.settings) if figures.from_scratch else step_metric(record.settings)


def estimated(record: RunRecord) -> tuple[Candidate, ...]:
    """The candidates whose figures are estimates; the starting cell of an inherited run was trained."""
    if not record.settings.estimates:
        return ()
    return tuple(one for one in record.candidates if one.step or not record.kind.start_trained)


def trained_cells(record: RunRecord) -> int:
    """How many different cells were trained from scratch."""
    keys = {one.evaluation.design.key for one in record.retrained} | set(record.remeasured)
    if record.kind.start_trained:
        first = record.of_step(0) if record.settings.estimates else record.candidates
        keys |= {one.design.key for one in first}
    return len(keys)


def count_words(record: RunRecord) -> str:
    """How many candidates there were, and what was done with them."""
    if not record.settings.estimates:
        return f"{count(sum(len(one.candidates) for one in record.parts), noun(record))} measured"
    candidates = sum(len(estimated(one)) for one in record.parts)
    trained = sum(map(trained_cells, record.parts))
    return (
        f"{count(candidates, 'candidate')} {'was' if candidates == 1 else 'were'} {evaluator_words(record).done}; "
        f"{count(trained, noun(record))} {'was' if trained == 1 else 'were'} trained from scratch"
    )


def measured_words(record: RunRecord, figures: Figures) -> str:
    """How a cell's performance was measured."""
    if figures.repeats:
        seeds = count(len(figures.repeats), "fresh seed")
        found = f"mean of {seeds}" if len(figures.repeats) > 1 else f"one measurement with {seeds}"
        # What is trained less than the recipe says is not left unsaid.
        return f"{found}, {figures.repeats[0].fidelity}" if record.settings.estimates else found
    if record.settings.estimates and figures.from_scratch:
        return f"one seed, {figures.recorded.fidelity}"
    return evaluator_words(record).measured


def phases(record: RunRecord) -> dict[str, Spent]:
    """What each part of the run cost, in its order; only those that cost something. A shared training counts once."""
    parts = record.parts
    own = (one.evaluation.spent for part in parts for one in part.candidates if one.same_as is None)
    again = (one.spent for part in parts for repeats in part.remeasured.values() for one in repeats)
    found = {
        "search": sum(own, Spent()),
        f"{filter_name(record)} filter": sum((part.screening for part in parts), Spent()),
        "playoff": sum((one.evaluation.spent for part in parts for one in part.retrained), Spent()),
        "fresh seeds": sum(again, Spent()),
        "beside": sum((one.evaluation.spent for part in parts for one in part.beside), Spent()),
    }
    return {name: spent for name, spent in found.items() if spent.training_macs}


def phases_words(record: RunRecord) -> str:
    """``search 1.2G, playoff 300M, fresh seeds 2.1G``: the training MACs; nothing where there is one part only."""
    found = phases(record)
    shown = ", ".join(f"{name} {quantity(spent.training_macs)}" for name, spent in found.items())
    return shown if len(found) > 1 else ""
