"""How long it takes to find the plugins when 50 strangers' are installed, beyond one.

Run ``uv run --group dev benchmarks/discovery.py``. Each plugin is a distribution with an entry point and a module that provides one auth method, as strangers'
are; a new process asks for one of them, and the medians of the two cases are compared.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

MODULE = """
from arraylake_core.backends import AnonymousCredentials, AuthMethod, NoOptions
from arraylake_core.hookspecs import hookimpl
ARRAYLAKE_SPI = 1
class Method(AuthMethod):
    name = "method-{number}"
    config = NoOptions
    async def credentials(self, config, location, access, identity):
        return AnonymousCredentials()
@hookimpl
def arraylake_auth_methods():
    return [Method()]
"""
ASK = """
import time, arraylake_core.plugins as plugins
begin = time.perf_counter()
plugins.default_registry().auth_method("method-0")
print(time.perf_counter() - begin)
"""
TARGET = 0.05


def install(site: Path, count: int) -> Path:
    """Write installed distributions."""
    for number in range(count):
        info = site / f"acme_{number}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[arraylake]\nacme-{number} = acme_{number}\n")
        (site / f"acme_{number}.py").write_text(MODULE.format(number=number))
    return site


def seconds(site: Path) -> float:
    """Ask in a new process."""
    environment = os.environ | {"PYTHONPATH": str(site)}
    run = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    return float(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        sites = [install(Path(directory, str(count)), count) for count in (1, 50)]
        for site in sites:  # once for the bytecode
            seconds(site)
        times: list[list[float]] = [[], []]
        for _ in range(rounds):
            for number, site in enumerate(sites):
                times[number].append(seconds(site))
    one, fifty = map(median, times)
    beyond = fifty - one
    print(f"medians of {rounds} processes each, in turn: {one * 1000:.1f} ms with 1 plugin more, {fifty * 1000:.1f} ms with 50")
    print(f"{beyond * 1000:.1f} ms beyond one, to be at most {TARGET * 1000:.0f} ms: {'met' if beyond <= TARGET else 'MISSED'}")


if __name__ == "__main__":
    main()
