"""How long it takes to import arraylake-core and make a Client, beside importing the official client.

Run ``uv run --group dev benchmarks/import_time.py``. The official client (``arraylake`` on PyPI) goes into a temporary environment of its own, with the same
Python. Both are timed in new processes, in turn; the start of the interpreter, timed in the same way in the same environment, is taken off.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

OURS = "import arraylake_core; arraylake_core.Client()"
THEIRS = "import arraylake"
HEAVY = {
    "aiohttp", "alembic", "botocore", "cryptography", "fsspec", "icechunk", "numpy", "obstore", "pandas", "s3fs", "sqlalchemy", "xarray", "zarr"
}  # fmt: skip
TARGET = 0.1


def seconds(python: Path, statement: str) -> float:
    """Time one process."""
    begin = time.perf_counter()
    subprocess.run([python, "-c", statement], check=True)
    return time.perf_counter() - begin


def heavy_modules(python: Path, statement: str) -> list[str]:
    """Return which heavy modules a statement loads."""
    script = f"{statement}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    return sorted(HEAVY & {name.partition(".")[0] for name in loaded})


def install_official(directory: Path) -> Path:
    """Install the official client into an environment, and return its Python."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, directory], check=True)
    python = directory / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "arraylake"], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = Path(sys.executable), install_official(Path(directory))
        version = subprocess.run(
            [theirs, "-c", "import importlib.metadata as m; print(m.version('arraylake'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        runs = [(ours, OURS), (theirs, THEIRS), (ours, "pass"), (theirs, "pass")]
        for run in runs:  # once for the bytecode and the disk cache
            seconds(*run)
        times: dict[tuple[Path, str], list[float]] = {run: [] for run in runs}
        for _ in range(rounds):
            for run in runs:
                times[run].append(seconds(*run))
        heavy = {statement: heavy_modules(python, statement) for python, statement in runs[:2]}
    results = {}
    print(
        f"medians of {rounds} processes each, in turn, without the start of the interpreter; the official client is {version}\n"
    )
    for python, statement in runs[:2]:
        start = median(times[python, "pass"])
        results[statement] = median(times[python, statement]) - start
        modules = ", ".join(heavy[statement]) or "none"
        print(
            f"{results[statement] * 1000:8.1f} ms  {statement}   (start: {start * 1000:.1f} ms; heavy modules loaded: {modules})"
        )
    ratio = results[OURS] / results[THEIRS]
    good = ratio <= TARGET and not heavy[OURS]
    print(f"\nratio {ratio:.3f}, to be at most {TARGET}, with no heavy module: {'met' if good else 'MISSED'}")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
