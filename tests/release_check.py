"""Whether a wheel is whole: run by `make release-check`, in another folder, by an environment that has it and no more.

python tests/release_check.py CHECKOUT WHEEL
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import autoshrink

COMMAND = [str(Path(sys.executable).parent / "autoshrink")]


def package_files(checkout: Path) -> set[str]:
    """The files of the package that git tracks: modules, templates, the zoo's data, py.typed."""
    listed = subprocess.run(
        ["git", "-C", str(checkout / "src"), "ls-files", "autoshrink"], check=True, capture_output=True, text=True
    )
    return {name for name in listed.stdout.splitlines() if (checkout / "src" / name).is_file()}


def main(checkout: Path, wheel: Path) -> None:
    """Say what is wrong with a wheel, and end with 1; say nothing where nothing is.

    Args:
        checkout: of the source that the wheel was built from.
        wheel: the file; it is installed in this environment.
    """
    installed = Path(autoshrink.__file__).resolve()
    assert checkout.resolve() / "src" not in installed.parents, f"autoshrink is not the wheel's: {installed}"
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == package_files(checkout), f"wheel and source differ: {sorted(packed ^ package_files(checkout))}"
    assert "autoshrink/py.typed" in packed

    version = subprocess.run([*COMMAND, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    assert version == f"autoshrink {wheel.name.split('-')[1]}", version

    refused = subprocess.run([*COMMAND, "reproduce", "table2"], check=False, capture_output=True, text=True)
    assert refused.returncode == 2, refused
    assert "pip install ./paper" in refused.stderr, refused.stderr

    # Two threads spin where other programs run beside them, and take many times as long.
    searched = [*COMMAND, "search", "--run", "demo", "--threads", "1", "--json"]
    demo = subprocess.run(searched, check=True, stdout=subprocess.PIPE, text=True)
    best = json.loads(demo.stdout)["best"]
    subprocess.run([*COMMAND, "report", "demo"], check=True)
    print(f"{wheel.name}: {len(packed)} files; its demo found {best}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
