"""The worker of the crash tests, and the summary of a soak."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the tests and the worker share crash_life


class Worker:
    """A process that runs tasks in children which it kills."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(
        self,
        task: str,
        uri: str,
        seed: int,
        acknowledged: Path,
        *,
        seconds: float | None = None,
        at_write: int = 0,
        hours_later: float = 0,
    ) -> dict[str, object]:
        """Run a task, killed after some seconds or before a write; return how it ended. A task that fails is a failure here."""
        asked = {"task": task, "uri": uri, "seed": seed, "acknowledged": str(acknowledged)}
        asked |= {"seconds": seconds, "at_write": at_write, "hours_later": hours_later}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert not answer["failure"], f"{task} with seed {seed} failed:\n{answer['failure']}"
        return answer


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Start the process; BLAS may have no threads, since it forks."""
    notes = tmp_path_factory.mktemp("worker") / "notes"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ICECHUNK_LOG": "error"}
    command = [sys.executable, str(HERE / "crash_worker.py"), str(notes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield Worker(process)
        process.stdin.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many kills there were, of what, and with which seed."""
    counts: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for key, value in report.user_properties:
                    if key.startswith("crash: "):
                        counts[key] += int(value)
    if counts:
        told = ", ".join(f"{count} {what.removeprefix('crash: ')}" for what, count in sorted(counts.items()))
        seed = os.environ.get("V1_CRASH_SEED", "1")
        terminalreporter.write_line(f"crash tests with seed {seed}: {told}")
