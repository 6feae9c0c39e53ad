"""AutoShrink on NAS-Bench-201, where everybody can check, against the package's other strategies and Optuna.

    python benchmarks/nasbench201.py --table nasbench201.csv.gz --validation cifar10_val_short \\
        --test cifar10_test_200 [--cost raspi4_latency] [--seeds 200] [--drawn 8 12] [--only evolution] [--json]

Every search is this package's own strategy object, told what the table says. It chooses by the column `--validation`;
reported is the column `--test` of the best cell so far (of equals the first), which no search sees. Any CSV file with a
column `arch` and those columns will do.

Rows, one for each number of evaluations of `--budgets` that a search reaches, and one for its end:

    method       autoshrink; evolution (regularised, population 10, sample 5), random, ddpnas, oneshot and msnas, all of
                 this package; tpe and nsga2 of Optuna
    moves        edges: an edge removed; identity: an edge's operation becomes identity or nothing; ops: any cheaper
                 operation; both: any other operation, dearer ones too
    drawn        K moves a step, or null for all of them; of ddpnas its T, 3 as published or 12
    walk         child: each step goes on from its best candidate; best: from the best cell so far that has moves left
    evaluations  mean over the seeds. A network counts once, however often and in whatever spelling it is proposed,
                 since a run trains it once; with --count proposals every proposal counts
    test_mean    of the test column, in percent, with the standard deviation over seeds (test_sd); seeds: how many

A cell without a validation accuracy (or a cost) is a failed evaluation: it counts, and nothing is learned but that. A
seed whose best cell has no test accuracy is left out of that row, and `seeds` is smaller then.

With `--cost`, S = accuracy − λ·log10(cost) with each λ of `--penalty` (in accuracy for ten times the cost), and the
rows also have the hypervolume (`hypervolume_mean`, `hypervolume_sd`): the area under the test accuracies of the cells
that are undominated in validation accuracy and cost, from the table's lowest accuracy and dearest cell on, cost in
decades; as a share of what the best possible cells of the table have.

`--run FOLDER` makes one search (of the first `--moves`, `--drawn`, `--walk`) through the package's run loop and leaves
its log there, or goes on with it. `autoshrink show FOLDER --plugin benchmarks/nasbench201_table.py` shows it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autoshrink.errors import AutoshrinkError, InputError
from autoshrink.record import RunRecord
from autoshrink.registry import STRATEGIES
from autoshrink.results import write_results
from autoshrink.run import Loop
from autoshrink.score import Evaluation, pareto_front, undominated
from autoshrink.store import Store, has_run, opening
from autoshrink.strategies import Strategy, StrategyContext
from nasbench201_table import EDGES, MOVES, OPS, Table, TableCell, TableEvaluator, TableSettings, TableSpace

BUDGETS = (25, 43, 80, 100, 175)
POINTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, *range(22, 60, 3), *range(60, 176, 5))
"""Numbers of evaluations at which curves are given."""
TURNS = (3, 12)
"""Random orders a phase of ddpnas: as published, and so many that it takes up the largest budget."""
IDLE = 200
"""Proposals in a row of networks that are all known before a search counts as done."""


@dataclass(frozen=True)
class Method:
    """A row's name, and what gives the evaluations of one seed in order: at most so many, of a table."""

    name: str
    search: Callable[[int], list[Evaluation]]
    moves: str | None = None
    drawn: int | None = None
    walk: str | None = None
    penalty: float = 0.0
    random: bool = True

    @property
    def head(self) -> dict[str, Any]:
        """What tells its rows from others'."""
        return {"method": self.name, "moves": self.moves, "drawn": self.drawn, "walk": self.walk} | (
            {"penalty": self.penalty} if self.penalty else {}
        )


class Notebook:
    """What one search has measured.

    Args:
        evaluator: the table.
        limit: evaluations that there may be.
        proposals: whether a network counts as often as it is proposed.
    """

    def __init__(self, evaluator: TableEvaluator, limit: int, *, proposals: bool) -> None:
        self.found: list[Evaluation] = []
        self._known: dict[str, Evaluation] = {}
        self._evaluator = evaluator
        self._limit = limit
        self._proposals = proposals
        self._idle = 0

    @property
    def full(self) -> bool:
        """Whether no evaluation is left, or nothing new is being proposed."""
        return len(self.found) >= self._limit or self._idle >= IDLE

    def measure(self, cell: TableCell) -> Evaluation:
        """A cell's evaluation; that of the first spelling, where it is one network with a cell that is known."""
        key = cell.key
        new = key not in self._known
        if new:
            self._known[key] = self._evaluator.measured(cell)
        self._idle = 0 if new else self._idle + 1
        if (new or self._proposals) and len(self.found) < self._limit:
            self.found.append(self._known[key])
        return replace(self._known[key], design=cell)


def told(strategy: Strategy, notebook: Notebook) -> list[Evaluation]:
    """A strategy asked and told until it is over or no evaluation is left."""
    while not notebook.full and (asked := strategy.ask()):
        strategy.tell([notebook.measure(proposal.design) for proposal in asked])  # type: ignore[arg-type]
    return notebook.found


def optuna_search(sampler: Callable[[Any, int], Any], seed: int, notebook: Notebook, cost: bool) -> list[Evaluation]:
    """One of Optuna's samplers on the operation of every edge."""
    optuna: Any = import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler(optuna, seed), directions=["maximize", "minimize"][: 1 + cost])
    choices = {f"{source}→{node}": optuna.distributions.CategoricalDistribution(OPS) for source, node in EDGES}
    while not notebook.full:
        trial = study.ask(choices)
        one = notebook.measure(TableCell(tuple(trial.params[name] for name in choices)))
        if one.performance is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, [one.performance, one.resources["latency"]][: 1 + cost])
    return notebook.found


class Ground:
    """The table, and the searches in it.

    Args:
        options: of the command.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        columns = [one for one in (options.validation, options.test, options.cost) if one is not None]
        self.options = options
        self.table = Table(options.table, columns)
        self.evaluator = TableEvaluator(self.table, options.validation, options.cost)
        self.limit = max(options.budgets)
        self._test = self.table.values[options.test]
        self._whole = self._volume(self._measured_all(), by_test=True) if options.cost else 1.0

    def settings(self, **changes: Any) -> TableSettings:
        """Of a search in this table."""
        resource = "latency" if self.options.cost else "macs"
        data = {"spec": str(self.options.table)}
        return TableSettings.model_validate({"data": data, "resource": resource, "evaluator": "trained", **changes})

    def search(self, moves: str, settings: TableSettings) -> list[Evaluation]:
        """By a strategy of this package."""
        context = StrategyContext(settings, TableSpace(allowed=moves), self.evaluator.resources)
        return told(STRATEGIES[settings.strategy](context), self.notebook())

    def notebook(self) -> Notebook:
        """Of a new search."""
        return Notebook(self.evaluator, self.limit, proposals=self.options.count == "proposals")

    def methods(self) -> Iterator[Method]:
        """AutoShrink with every set of moves, then the others."""
        options = self.options
        for penalty in options.penalty:
            for moves in options.moves:
                for walk in options.walk:
                    # Up and down again without end, were each step to go on from its own best.
                    if moves == "both" and walk == "child":
                        continue
                    for drawn in (None, *options.drawn):
                        yield self._autoshrink(moves, walk, drawn, penalty)
        for name in ("evolution", "random", "oneshot", "msnas"):
            yield Method(name, partial(self._other, name))
        for turns in TURNS:
            yield Method("ddpnas", partial(self._other, "ddpnas", ddpnas={"turns": turns}), drawn=turns)
        if find_spec("optuna") is None:
            note("tpe and nsga2 are left out: Optuna is not installed (pip install optuna)")
            return
        yield Method("tpe", lambda seed: optuna_search(_tpe, seed, self.notebook(), cost=False))
        if options.cost:
            yield Method("nsga2", lambda seed: optuna_search(_nsga2, seed, self.notebook(), cost=True))

    def _other(self, strategy: str, seed: int, **changes: Any) -> list[Evaluation]:
        # Searches as long as AutoShrink's are as long as moves in both directions would be: the budget ends them.
        return self.search("both", self.settings(strategy=strategy, seed=seed, **changes))

    def _autoshrink(self, moves: str, walk: str, drawn: int | None, penalty: float) -> Method:
        settings = self.settings(candidates=drawn or "all", walk=walk, penalty=penalty)
        return Method(
            "autoshrink",
            lambda seed: self.search(moves, settings.model_copy(update={"seed": seed})),
            moves,
            drawn,
            walk,
            penalty,
            random=drawn is not None,
        )

    # --- what searches found -----------------------------------------------------------------------------------------

    def rows(self, method: Method, searches: Sequence[list[Evaluation]]) -> list[dict[str, Any]]:
        """One for every budget that brings the search further."""
        found: list[dict[str, Any]] = []
        for budget in self.options.budgets:
            evaluations = statistics.mean(min(budget, len(one)) for one in searches)
            if found and evaluations <= found[-1]["evaluations"]:
                break
            row = method.head | {"evaluations": evaluations} | self._figures(searches, budget)
            if self.options.cost:
                shares = [self._volume(one[:budget]) / self._whole for one in searches]
                row |= {
                    f"hypervolume_{name}": value for name, value in zip(("mean", "sd"), spread(shares), strict=True)
                }
            found.append(row)
        return found

    def _figures(self, searches: Sequence[list[Evaluation]], budget: int) -> dict[str, Any]:
        tests = [value for one in searches if (value := self._tested(one[:budget])) is not None]
        mean, deviation = spread(tests)
        return {"test_mean": mean, "test_sd": deviation, "seeds": len(tests)}

    def _tested(self, found: Sequence[Evaluation]) -> float | None:
        """The test accuracy of the best; None where there is none."""
        best = max(found, key=lambda one: -math.inf if one.performance is None else one.performance)
        return None if best.failed else self._test.get(best.design)

    def curve(self, searches: Sequence[list[Evaluation]]) -> dict[str, Any]:
        """Test accuracies at `POINTS`, as far as the longest search goes."""
        points = [point for point in POINTS if point <= max(map(len, searches))]
        figures = [self._figures(searches, point) for point in points]
        return {"seeds": len(searches), "evaluations": list(points)} | {
            name: [None if one[f"test_{name}"] is None else round(one[f"test_{name}"], 3) for one in figures]
            for name in ("mean", "sd")
        }

    def _measured_all(self) -> list[Evaluation]:
        return [self.evaluator.measured(cell) for cell in self._test]

    def _volume(self, found: Sequence[Evaluation], *, by_test: bool = False) -> float:
        """Area under the test accuracies of undominated cells, accuracy × decades of cost."""
        assert self.options.cost, "asked where there is a cost"
        known = [one for one in found if not one.failed and one.design in self._test]
        tests = self._test

        def cost(one: Evaluation) -> int:
            return one.resources["latency"]

        if by_test:
            front = undominated(known, cost, lambda one: tests[one.design])
        else:
            front = pareto_front(known, lambda resources: resources["latency"])
        last = math.log10(1e6 * max(self.table.values[self.options.cost].values()))
        area, height = 0.0, min(tests.values())
        for one in front:
            accuracy = tests[one.design]
            area += max(0.0, accuracy - height) * (last - math.log10(cost(one)))
            height = max(height, accuracy)
        return area


def _tpe(optuna: Any, seed: int) -> Any:
    return optuna.samplers.TPESampler(seed=seed)


def _nsga2(optuna: Any, seed: int) -> Any:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; 0 of a single value."""
    if not values:
        return None, None
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def kept_run(ground: Ground, folder: Path) -> RunRecord:
    """One search through the run loop and its log, from its beginning or from where it stopped."""
    options = ground.options
    if has_run(folder):
        with Store.open(folder) as store:
            store.append("opened", opening())
            return Loop(store, ground.evaluator).run()
    settings = ground.settings(
        candidates=next(iter(options.drawn), "all"),
        moves=(options.moves[0],),
        walk=options.walk[0],
        penalty=options.penalty[0],
        stop={"evaluations": ground.limit},
    )
    space = TableSpace(allowed=options.moves[0])
    created = {"settings": settings.to_json(), "environment": {}, "start": space.start.to_json()}
    with Store.create(folder, created) as store:
        store.append("opened", opening())
        store.append("data", {"name": options.table.name})
        return Loop(store, ground.evaluator).run()


def note(text: str) -> None:
    """For a person, on standard error."""
    print(text, file=sys.stderr)


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| method | moves | K | walk | evaluations | test accuracy | hypervolume |", "| --- " * 7 + "|"]
    for row in rows:
        figures = [
            "–"
            if row.get(f"{name}_mean") is None
            else f"{scale * row[f'{name}_mean']:.2f} ± {scale * row[f'{name}_sd']:.2f}"
            for name, scale in (("test", 1), ("hypervolume", 100))
        ]
        name = f"{row['method']} λ={row['penalty']}" if "penalty" in row else row["method"]
        cells = [name, row["moves"] or "", row["drawn"] or ("all" if row["moves"] else ""), row["walk"] or ""]
        lines.append("| " + " | ".join(map(str, [*cells, f"{row['evaluations']:.0f}", *figures])) + " |")
    return "\n".join(lines)


def _shown(row: Mapping[str, Any], name: str, scale: int) -> str:
    mean, deviation = row.get(f"{name}_mean"), row.get(f"{name}_sd")
    return "–" if mean is None or deviation is None else f"{scale * mean:.2f} ± {scale * deviation:.2f}"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--cost")
    parser.add_argument("--seeds", type=_positive, default=200)
    parser.add_argument("--budgets", type=_positive, nargs="+", default=BUDGETS)
    parser.add_argument("--moves", nargs="+", choices=tuple(MOVES), default=tuple(MOVES))
    parser.add_argument("--walk", nargs="+", choices=("child", "best"), default=("child", "best"))
    parser.add_argument("--drawn", type=_positive, nargs="*", default=(8, 12))
    parser.add_argument("--penalty", type=float, nargs="+", default=(0.0,))
    parser.add_argument("--count", choices=("networks", "proposals"), default="networks")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="autoshrink, evolution, random, oneshot, …")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--curves", action="store_true", help="also the curves, for nasbench201_plot.py")
    options = parser.parse_args(words)
    options.budgets = sorted(set(options.budgets))
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def main() -> None:
    """Search, and print."""
    options = arguments()
    try:
        ground = Ground(options)
        for column in ground.table.values:
            if gaps := ground.table.gaps(column):
                note(f"{column}: {gaps} of {len(OPS) ** len(EDGES)} cells have no value")
        if options.run is not None:
            record = kept_run(ground, options.run)
            write_results(options.run, record)
            note(f"{options.run}: {len(record.candidates)} candidates, {record.stopped}")
            return
        report(ground)
    except AutoshrinkError as error:
        note(f"error: {error}")
        raise SystemExit(2) from error


def report(ground: Ground) -> None:
    """Make all searches and print what they found."""
    options = ground.options
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for method in ground.methods():
        if options.only and method.name not in options.only:
            continue
        # What draws nothing is the same with every seed.
        searches = [method.search(seed) for seed in range(options.seeds if method.random else 1)]
        rows += ground.rows(method, searches)
        curves.append(method.head | ground.curve(searches))
        note(table_of(rows[-1:]).splitlines()[-1])
    if not rows:
        raise InputError(f"--only {' '.join(options.only)}: there is no such method")
    names = ("validation", "test", "cost", "count", "seeds")
    result = {name: getattr(options, name) for name in names} | {"rows": rows}
    if options.json:
        print(json.dumps(result | ({"curves": curves} if options.curves else {})))
    else:
        print(table_of(rows))


if __name__ == "__main__":
    main()
