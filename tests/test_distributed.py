"""Several processes that train one classifier: the same gradients as one process, the same figures everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autoshrink.bundle import TrainedClassifier, load_as
from autoshrink.errors import InputError
from autoshrink.final import STATE_FILE
from autoshrink.networks import build
from autoshrink.training.distributed import Processes, announced, own_device
from classifier_fixtures import SMALL, StillNormalised, learner_of, recipe_of
from training_fixtures import assert_same, left

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TWO_EACH = """
import gc, json, os, runpy, signal, socket, sys, tempfile
from autoshrink import train
from autoshrink.cli import main
from classifier_fixtures import SMALL, asked

def two(*command):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    with tempfile.TemporaryFile() as said:
        children = [os.fork() or run(str(rank), said.fileno(), command) for rank in range(2)]
        codes = {}
        while len(codes) < 2:
            child, status = os.wait()
            codes[child] = os.waitstatus_to_exitcode(status)
            for other in children:
                if codes[child] and other not in codes:
                    os.kill(other, signal.SIGTERM)
        said.seek(0)
        return [codes[child] for child in children], said.read().decode()

def run(rank, said, command):
    signal.alarm(200)
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    sys.argv[:] = command
    if command[0] == "autoshrink":
        main()
    runpy.run_path(command[0], run_name="__main__")
    sys.exit()

# So that no child has to import what it needs, nor to look for garbage among all that.
train(SMALL, asked(epochs=1), out=sys.argv[1])
gc.freeze()
told = [two(*command) for command in json.loads(sys.argv[2])]
print(json.dumps(told))
"""
"""Two processes for each of some commands, as `torchrun` starts them and ends both when one fails, but without seconds
of imports in each; their exit codes, and what they said."""

CHECK = """
import json, sys
from pathlib import Path
import torch
from autoshrink.networks import build
from autoshrink.training.distributed import joined
from classifier_fixtures import SMALL, StillNormalised, learner_of, recipe_of

def steps(processes, pieces):
    # Other weights in the second process: the first one's are for all.
    network = StillNormalised(build(SMALL, seed=processes.rank).double())
    learner = learner_of(
        recipe_of(accumulation=pieces, ema=0.9), network=network, processes=processes, dtype=torch.float64
    )
    losses = [batch.loss for epoch in range(2) for batch in learner.epoch(epoch)]
    validation = learner.validate()
    weights = {name: value.tolist() for name, value in learner.network.state_dict().items()}
    return losses, [validation.performance, validation.loss], weights, learner.seen, learner.validated

with joined(torch.device("cpu")) as processes:
    found = {pieces: steps(processes, pieces) for pieces in (1, 3)}

threads = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").glob("*")]
assert not [name for name in threads if "gloo" in name], threads
with open(f"{sys.argv[1]}/{processes.rank}.json", "w") as file:
    json.dump(found, file)
"""

INTERRUPTED = """
import sys
from pathlib import Path
from autoshrink import train
from autoshrink.final import TrainingWatcher
from classifier_fixtures import SMALL, asked

def interrupt(*told):
    raise KeyboardInterrupt

try:
    train(SMALL, asked(epochs=1), out=sys.argv[1], watcher=TrainingWatcher(on_batch=interrupt))
except BaseException:
    threads = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").glob("*")]
    assert not [name for name in threads if "gloo" in name], threads
    sys.exit(0)
sys.exit(1)
"""


TRAIN = """
import sys
from autoshrink import train
from autoshrink.final import TrainingWatcher
from classifier_fixtures import SMALL, asked

def stop(epoch, done, total, told=[]):
    told.append(done)
    if len(told) == int(sys.argv[2]):
        sys.exit(1)

train(SMALL, asked(epochs=2, momentum=0.8), out=sys.argv[1], watcher=TrainingWatcher(on_batch=stop))
"""


def launched(*command: str) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)


Done = tuple[Path, dict[str, tuple[list[int], str]]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The folder that all commands wrote to; and the exit codes of each one's two processes, and what they said."""
    folder = tmp_path_factory.mktemp("two")
    programs = {"check": CHECK, "interrupted": INTERRUPTED, "train": TRAIN}
    files = {name: str(folder / f"{name}.py") for name in programs}
    for name, program in programs.items():
        Path(files[name]).write_text(program)
    whole = str(folder / "whole")
    commands = {
        "check": (files["check"], str(folder)),
        "interrupted": (files["interrupted"], str(folder / "interrupted")),
        "whole": (files["train"], whole, "0"),
        "stopped": (files["train"], str(folder / "stopped"), "14"),
        "refused": ("autoshrink", "train", "--from", whole, "--data", "digits", "-o", whole),
    }
    told = launched(sys.executable, "-c", TWO_EACH, str(folder / "alone"), json.dumps(list(commands.values())))
    assert told.returncode == 0, told.stderr
    return folder, dict(zip(commands, json.loads(told.stdout), strict=True))


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(done: Done) -> None:
    """Where BN looks at no batch: losses, weights and validation in float64, with micro-batches and without, the
    batch of 32 cut into 16 + 16 images; both processes say the same to the bit."""
    folder, ended = done
    codes, said = ended["check"]
    assert codes == [0, 0], said
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    for pieces in (1, 3):
        network = StillNormalised(build(SMALL, seed=0).double())
        alone = learner_of(recipe_of(accumulation=pieces, ema=0.9), network=network, dtype=torch.float64)
        losses = [batch.loss for epoch in range(2) for batch in alone.epoch(epoch)]
        validation = alone.validate()
        told_losses, told_validation, weights, seen, validated = first[str(pieces)]
        assert told_losses == pytest.approx(losses, rel=1e-9)
        assert told_validation == pytest.approx([validation.performance, validation.loss], rel=1e-6)
        assert (seen, validated) == (alone.seen, alone.validated) == (128, 64)
        for name, value in alone.network.state_dict().items():
            other = torch.tensor(weights[name], dtype=value.dtype)
            torch.testing.assert_close(other, value, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.slow
def test_a_training_that_was_interrupted_leaves_no_thread(done: Done) -> None:
    """One that still runs while Python ends takes the process with it, now and then."""
    codes, said = done[1]["interrupted"]
    assert codes == [0, 0], said


@pytest.mark.slow
def test_two_processes_train_one_model_and_torchrun_goes_on_with_it(done: Done) -> None:
    """The first process dies in the middle of the second epoch and the other cannot go on without it; resumed, both end
    with the same bits as without, and one of them speaks."""
    folder, ended = done
    whole, stopped = folder / "whole", folder / "stopped"
    codes, said = ended["whole"]
    assert codes == [0, 0], said
    assert 0 not in ended["stopped"][0]
    assert left(stopped)[STATE_FILE][1]["position"] is not None
    again = launched(*TORCHRUN, "-m", "autoshrink", "resume", str(stopped), "--json")
    assert again.returncode == 0, again.stderr
    assert_same(stopped, whole)
    assert load_as(TrainedClassifier, whole).facts.performance == json.loads(again.stdout)["accuracy"]


@pytest.mark.slow
def test_two_processes_refuse_what_one_refuses(done: Done) -> None:
    codes, said = done[1]["refused"]
    assert codes[0] == 2
    assert codes[1] != 0
    assert "holds a training already" in said


def test_the_environment_of_torchrun_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert announced() == Processes(2, 4)
    assert not announced().first
    monkeypatch.setenv("RANK", "two")
    with pytest.raises(InputError, match="RANK and WORLD_SIZE in the environment are no numbers"):
        announced()
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert announced() == Processes()


def test_each_process_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device("auto") == own_device("cuda") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="process 1 of this machine finds 1 CUDA devices; start as many processes"):
        own_device("auto")


def test_statistics_over_processes_are_for_cuda() -> None:
    with pytest.raises(InputError, match=r"recipe.sync_bn is for CUDA, not cpu"):
        learner_of(recipe_of(sync_bn=True), processes=Processes(0, 2))
    assert learner_of(recipe_of(sync_bn=True)).network is not None, "alone there is nothing to share"


def test_one_process_waits_for_nobody() -> None:
    network = build(SMALL, seed=0)
    alone = Processes()
    alone.agree(network)
    assert alone.total([1.0, 2.0], torch.device("cpu")) == [1.0, 2.0]
    assert StillNormalised(network).train().network.stem.bn.training is False  # type: ignore[union-attr]
