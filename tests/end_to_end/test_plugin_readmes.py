"""The code in the READMEs of the plugins runs, and their tables of options are those of the code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from arraylake_anonymous import AnonymousConfig
from arraylake_azure import AzureOptions
from arraylake_gcs import GCSOptions
from arraylake_hmac import HmacConfig
from arraylake_oauth import OAuthConfig
from arraylake_s3 import S3Options

from tests.servers.seaweedfs import SeaweedFS

PLUGINS = Path(__file__).parents[2] / "plugins"
PRINTS = {
    "anonymous": "{'method': 'anonymous'}\n",
    "azure": "{'storage_account': 'ourdata', 'hierarchical_namespace': False}\n",
    "drop-in": "me/my-repo\n",
    "gcs": "gs\n",
    "hmac": "***\n",
    "icechunk": "[1. 2. 3. 4.]\n",
    "local": "True []\n",
    "oauth": "{'method': 'oauth', 'role_arn': 'arn:aws:iam::123456789012:role/lake', 'duration_seconds': 3600}\n",
    "s3": "True True []\n",
    "v1-repo": "[1. 2. 3. 4.]\n",
}


def readme(plugin: str) -> str:
    return (PLUGINS / plugin / "README.md").read_text()


def test_every_plugin_has_one() -> None:
    assert sorted(path.name for path in PLUGINS.iterdir() if (path / "pyproject.toml").exists()) == sorted(PRINTS)


@pytest.mark.parametrize("plugin", PRINTS)
def test_its_code_runs_and_prints_what_it_should(plugin: str, tmp_path: Path, seaweedfs: SeaweedFS, bucket: str) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", readme(plugin), re.MULTILINE | re.DOTALL))
    code = code.replace("https://s3.example.org", seaweedfs.endpoint).replace("my-bucket", bucket)
    key, secret = seaweedfs.admin
    environment = os.environ | {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert PRINTS[plugin] in done.stdout
    assert secret not in done.stdout


@pytest.mark.parametrize(
    ("plugin", "struct"),
    [
        ("s3", S3Options),
        ("hmac", HmacConfig),
        ("anonymous", AnonymousConfig),
        ("oauth", OAuthConfig),
        ("gcs", GCSOptions),
        ("azure", AzureOptions),
    ],
)
def test_its_table_has_every_option(plugin: str, struct: type[msgspec.Struct]) -> None:
    table = re.search(r"^\| (?:option|field) \|.*?\n\n", readme(plugin), re.MULTILINE | re.DOTALL)
    listed = re.findall(r"^\| `(\w+)` \|", table[0] if table else "", re.MULTILINE)
    assert [name for name in listed if name != "method"] == [field.encode_name for field in msgspec.structs.fields(struct)]
