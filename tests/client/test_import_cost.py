"""What `import arraylake_core`, a Client, and listing the plugins may not load, each looked at in a process of its own."""

import subprocess
import sys

import pytest

HEAVY = (
    "aiohttp", "alembic", "botocore", "cryptography", "fsspec", "icechunk", "numpy", "obstore", "pandas", "s3fs", "sqlalchemy", "xarray", "zarr"
)  # fmt: skip

SCRIPTS = {
    "import": "import arraylake_core",
    "client": "import arraylake_core; arraylake_core.Client()",
    "names": "from arraylake_core import Client, AsyncClient, RepoKind, Secret, config, errors, models",
    "plugins": (
        "import arraylake_core; arraylake_core.Client(); from arraylake_core.plugins import default_registry; "
        "infos = default_registry().plugins(); assert infos and not [info for info in infos if info.error], infos"
    ),
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_nothing_heavy_is_loaded(what: str) -> None:
    script = f"{SCRIPTS[what]}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & set(HEAVY) == set()
