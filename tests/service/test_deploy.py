"""What operators are given says what is true: deploy/ and docs/production.md name commands, settings and metrics that exist, and the set-up works."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from arraylake_core import Client, config
from arraylake_core.config import SETTINGS
from arraylake_core.events import EVENT_TYPES
from arraylake_core.secret import Secret
from arraylake_core.service.metrics import Metrics
from arraylake_core.service.oidc.issuers import parse_issuers
from arraylake_core.service.routes import ROUTES
from arraylake_core.webhooks import signed_headers
from tests.docs.shell import check_call, words_of
from tests.servers.postgres import Postgres

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GUIDE = (ROOT / "docs" / "production.md").read_text()
BIN = Path(sys.executable).parent
PORT = 8000
SETTING_OF = {f"ARRAYLAKE_{setting.name.upper().replace('.', '__')}": setting for setting in SETTINGS}
DRAIN = float(next(setting.default for setting in SETTINGS if setting.name == "service.drain_seconds"))  # type: ignore[arg-type]


def section(title: str) -> str:
    """Return the text of the guide below a heading."""
    return GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """The instructions, each with its arguments on one line."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return [(line.split(" ")[0], line.partition(" ")[2].strip()) for line in text.splitlines() if re.match("[A-Z]", line)]


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.read_string((DEPLOY / "arraylake-core.service").read_text())
    assert set(parser.sections()) == {"Unit", "Service", "Install"}
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "arraylake-core.service").read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_every_command_exists(compose: Any, dockerfile: list[tuple[str, str]], unit: dict[str, list[str]]) -> None:
    shell = "".join(blocks(GUIDE, "sh")).replace("\\\n", " ").splitlines()
    inline = re.findall(r"(?<!`)`(arraylake-core [^`]+)`", GUIDE)
    comments = [line.lstrip("# ") for line in (DEPLOY / "compose.yaml").read_text().splitlines() if line.startswith("#  ")]
    calls = [words for line in [*shell, *inline, *comments, *unit["ExecStart"]] for words in words_of(line)]
    calls += [
        service["command"][1:] for service in compose["services"].values() if service.get("command", [""])[0] == "arraylake-core"
    ]
    program, *arguments = json.loads(next(value for name, value in dockerfile if name == "CMD"))
    assert program == "arraylake-core"
    calls.append(arguments)
    assert {"serve", "admin", "token", "bucket", "org", "repo", "config"} <= {words[0] for words in calls}
    assert len(calls) > 20
    for words in calls:
        check_call(words)


def test_a_command_that_does_not_exist_is_found() -> None:
    for words in (["serv"], ["serve", "--nonsense"], ["admin", "backups", "x"], ["admin"]):
        with pytest.raises(AssertionError):
            check_call(words)


def test_the_providers_of_the_guide_are_ones_with_which_the_service_starts() -> None:
    [block] = blocks(section("Logins"), "yaml")
    issuers = parse_issuers(yaml.safe_load(block)["service"]["issuers"])
    assert [entry.org for entry in issuers] == [None, "partner"]


def test_every_variable_is_a_setting() -> None:
    texts = {path.name: path.read_text() for path in DEPLOY.iterdir() if path.name != ".env"} | {"production.md": GUIDE}
    assert {"Caddyfile", "Dockerfile", "arraylake-core.service", "compose.yaml", ".env.example"} <= texts.keys()
    named = {(name, found) for name, text in texts.items() for found in re.findall(r"\bARRAYLAKE_[A-Z][A-Z_]*", text)}
    assert {found for _, found in named} >= {"ARRAYLAKE_SERVICE__DATABASE", "ARRAYLAKE_CATALOG__KEY", "ARRAYLAKE_DATA__DIR"}
    assert {(name, found) for name, found in named if found not in SETTING_OF} == {("production.md", "ARRAYLAKE_TOKEN")}


def test_no_secret_has_a_value(compose: Any, unit: dict[str, list[str]]) -> None:
    example = [line for line in (DEPLOY / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    assert example
    assert [line for line in example if not line.endswith("=")] == []
    needed = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert {line.removesuffix("=") for line in example} == needed
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|SECRET|DATABASE|TOKEN", name):
                assert re.search(r"\$\{\w+:\?", value), name
    assert [path for path in unit["EnvironmentFile"] if path.startswith("-")] == []
    ignored = subprocess.run(["git", "check-ignore", "deploy/.env"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.strip() == "deploy/.env" or "not a git repository" in ignored.stderr


def test_ports_hosts_and_times_agree(compose: Any, dockerfile: list[tuple[str, str]], unit: dict[str, list[str]]) -> None:
    instructions = dict(dockerfile)
    command = json.loads(instructions["CMD"])
    assert command[command.index("--port") + 1] == instructions["EXPOSE"] == str(PORT)
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert f"http://127.0.0.1:{PORT}/health" in instructions["HEALTHCHECK"]
    [exec_start] = unit["ExecStart"]
    assert f"--host 127.0.0.1 --port {PORT}" in exec_start
    assert f"Listening on http://127.0.0.1:{PORT}" in GUIDE
    services = compose["services"]
    assert services["service-1"] == services["service-2"]
    caddy = (DEPLOY / "Caddyfile").read_text()
    assert f"reverse_proxy service-1:{PORT} service-2:{PORT} {{" in caddy
    assert f"-s3.port={caddy.partition('seaweedfs:')[2].split()[0]}" in services["seaweedfs"]["command"]
    assert set(re.findall(r"\{\$(\w+)\}", caddy)) == set(services["proxy"]["environment"])
    assert {"/health", "/ready", "/metrics"} <= {route.path for route in ROUTES}
    # Only the proxy is reached from outside.
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert float(unit["TimeoutStopSec"][0]) > DRAIN
    assert float(services["service-1"]["stop_grace_period"].removesuffix("s")) > DRAIN
    assert services["postgres"]["image"] == "postgres:18"
    assert services["migrate"]["command"] == ["arraylake-core", "admin", "migrate"]
    assert services["service-1"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert services["service-1"]["environment"] == services["migrate"]["environment"]


def test_the_service_runs_with_few_rights(compose: Any, dockerfile: list[tuple[str, str]], unit: dict[str, list[str]]) -> None:
    assert unit["DynamicUser"] == ["yes"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["Restart"] == ["on-failure"]
    [last_user] = [value for name, value in dockerfile if name == "USER"]
    assert last_user == "10001"
    assert [name for name, _ in dockerfile].count("FROM") == 2
    service = compose["services"]["service-1"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_the_image_is_made_of_what_is_there(dockerfile: list[tuple[str, str]]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [sync] = [value for name, value in dockerfile if name == "RUN" and "uv sync" in value]
    [install] = [line for line in "".join(blocks(GUIDE, "sh")).replace("\\\n", " ").splitlines() if "uv sync" in line]
    wanted = re.findall(r"--extra (\w+)", sync)
    assert (
        wanted
        == re.findall(r"--extra (\w+)", install)
        == ["service", "postgres", "s3", "icechunk", "v1", "gcs", "azure", "oauth"]
    )
    assert set(wanted) <= set(extras)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for name, value in dockerfile:
        if name == "COPY" and not value.startswith("--from"):
            for source in value.split(" ")[:-1]:
                assert source == "uv.loc[k]" or (ROOT / source).exists(), source
                assert f"!{source.replace('[k]', 'k')}" in ignored, source


def test_settings_metrics_events_and_links_are_those_of_the_code() -> None:
    known = {setting.name: setting for setting in SETTINGS}
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*) \|$", section("Settings"), re.MULTILINE)
    assert {name for name in known if name.startswith("service.")} - {name for name, *_ in rows} == {
        f"service.{name}" for name in ("uri", "token", "allow_http", "timeout", "retry_seconds")
    }
    for name, default, _ in rows:
        assert default.strip() == (f"`{known[name].default}`" if known[name].default else ""), name
    shown = Metrics()
    shown.requests.labels("open_repo", 200).inc()
    shown.seconds.labels("open_repo").observe(1)
    shown.refused.labels("rate").inc()
    lines = [line for line in shown.text().decode().splitlines() if not line.startswith("#")]
    told = re.findall(r"^\| `(\w+)(?:\{([\w,]+)\})?` \|", section("Metrics, and what to alert on"), re.MULTILINE)
    assert len(told) == 5
    for name, labels in told:
        line = next(line for line in lines if re.match(rf"{name}[ {{]", line))
        assert sorted(re.findall(r"(\w+)=", line)) == sorted(filter(None, labels.split(","))), line
    assert set(re.findall(r"`((?:repo|v1)\.\w+)`", section("Webhooks"))) == set(EVENT_TYPES)
    assert "open_repo" in {route.name for route in ROUTES}
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)}
    readme = (ROOT / "README.md").read_text()
    anchors_there = {
        re.sub(r"[^\w -]", "", found.lower()).replace(" ", "-") for found in re.findall(r"^## (.*)$", readme, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", GUIDE):
        path, _, anchor = link.partition("#")
        if path.startswith("https://"):
            continue
        assert not path or (ROOT / "docs" / path).exists(), link
        assert not anchor or anchor in (anchors_there if path else anchors), link


def test_the_receiver_of_webhooks_works() -> None:
    [receiver] = [block for block in blocks(GUIDE, "python") if "verify_signature" in block]
    names: dict[str, Any] = {}
    exec(receiver, names)
    secret = "whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="
    body = b'{"type": "repo.created", "timestamp": "2026-01-01T00:00:00Z", "data": {"org": "acme", "repo": "weather"}}'
    headers = signed_headers(Secret(secret), "msg_1", body, int(time.time()))
    assert names["receive"](secret, headers, body) == "repo.created: acme/weather"
    assert names["receive"](secret, headers, body + b" ") is None


class Operator:
    """Somebody who follows the guide, block by block, in one shell."""

    def __init__(self, directory: Path, replaced: dict[str, str]) -> None:
        self._directory = directory
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ARRAYLAKE_"))}
        self.environment = kept | {"HOME": str(directory), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        # Some twenty processes: what the first compiles, the others need not.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment["PYTHONPYCACHEPREFIX"] = str(directory / "compiled")
        self.replaced = {"/etc/arraylake": f"{directory}/etc", "/var/backups": str(directory)} | replaced

    def text(self, block: str) -> str:
        """Return a block with the operator's own names."""
        for old, new in self.replaced.items():
            block = block.replace(old, new)
        return block

    def run(self, block: str) -> str:
        """Run a block, and keep what it exports."""
        script = f"{self.text(block)}\nenv -0 > '{self._directory}/environment'"
        done = subprocess.run(
            ["bash", "-eu", "-c", script], env=self.environment, cwd=self._directory, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        after = (self._directory / "environment").read_text().split("\0")
        self.environment = dict(pair.split("=", 1) for pair in after if "=" in pair)
        for token in re.findall(r"^token: (ema_\w+)$", done.stdout, re.MULTILINE):
            self.replaced["ema_..."] = token
        return done.stdout

    def python(self, script: str) -> str:
        """Run a script, with warnings as errors."""
        words = [sys.executable, "-W", "error", "-c", self.text(script)]
        done = subprocess.run(words, env=self.environment, cwd=self._directory, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    @contextmanager
    def serving(self, block: str) -> Iterator[None]:
        """Run the block that serves, on a free port, until it is stopped."""
        words = shlex.split(block.replace(f"--port {PORT}", "--port 0"))
        with (self._directory / "log").open("a") as log:
            process = subprocess.Popen(
                words, env=self.environment, cwd=self._directory, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
            assert line.startswith("Listening on http://127.0.0.1:"), (self._directory / "log").read_text()
            self.replaced["https://lake.example.org"] = line.removeprefix("Listening on ")
            self.environment["ARRAYLAKE_SERVICE__URI"] = self.replaced["https://lake.example.org"]
            yield
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.communicate()


def test_the_set_up_works_step_by_step(postgres: Postgres, tmp_path: Path) -> None:
    name = f"lake{uuid4().hex[:8]}"
    socket = postgres.uri().partition("?")[2]
    replaced = {
        "postgresql://lake:PASSWORD@localhost:5432/lake": f"postgresql://{name}:PASSWORD@/{name}",
        # The second name contains the first: the socket's directory goes behind both.
        "'\nARRAYLAKE_CATALOG__KEY": f"?{socket}'\nARRAYLAKE_CATALOG__KEY",
        "_restored'": f"_restored?{socket}'",
    }
    operator = Operator(tmp_path, replaced)
    sql = [re.sub(r"\blake(?=_restored\b|\b)", name, block) for block in blocks(GUIDE, "sql")]
    set_up = section("Set-up, step by step")
    settings, tables, serve, first_use, bucket, tokens, revoke, operators, others = blocks(set_up, "sh")
    [five] = blocks(set_up, "python")
    backup, restore = blocks(section("Backup and restore"), "sh")
    [rotate] = blocks(section("A new key"), "sh")
    try:
        for statement in "".join(sql[:1]).split(";\n")[:-1]:
            postgres.execute(statement)
        operator.run(settings)
        secret_file = tmp_path / "etc" / "service.env"
        assert secret_file.stat().st_mode & 0o777 == 0o600
        operator.run(tables)
        with operator.serving(serve):
            assert "acme" in operator.run(first_use)
            assert "grace@example.org" in operator.run(bucket)
            admin = operator.replaced["ema_..."]
            made = operator.run(tokens)
            assert operator.replaced["ema_..."] != admin
            assert made.count("nightly") == 1
            [operator.replaced["TOKEN_ID"]] = re.findall(r"^id: (.+)$", made, re.MULTILINE)
            operator.run(revoke)
            operator.run(operators)
            assert "ema_" in operator.run(others)
            (tmp_path / "lake").mkdir()
            disk = f"client.create_bucket_config(org='acme', nickname='disk', uri='file://{tmp_path}/lake')\nrepo = "
            in_disk = five.replace("repo = ", disk, 1).replace(
                '("acme/weather")', '("acme/weather", bucket_config_nickname="disk")', 1
            )
            operator.replaced["ema_..."] = admin
            assert operator.python(in_disk).count("<xarray.Dataset>") == 1
            operator.run(backup)
        [file] = tmp_path.glob("lake-*.backup")
        key = operator.environment["ARRAYLAKE_CATALOG__KEY"]
        assert key.encode() not in file.read_bytes()

        postgres.execute(sql[1].strip().removesuffix(";"))
        operator.replaced["/lake-20260131T030000Z.backup"] = f"/{file.name}"
        operator.run(restore)
        assert operator.environment["ARRAYLAKE_SERVICE__DATABASE"].startswith(f"postgresql://{name}:PASSWORD@/{name}_restored?")
        new_key = operator.run("openssl rand -base64 32").strip()
        operator.environment["ARRAYLAKE_CATALOG__KEY"] = f"{new_key},{key}"
        operator.run(rotate)
        restored = operator.environment["ARRAYLAKE_SERVICE__DATABASE"]
        with config.set({"catalog.key": new_key}), Client(restored) as client:
            secret = client.get_bucket_config(org="acme", nickname="our-bucket").auth_config["secret_access_key"]
            assert isinstance(secret, Secret)
            assert secret.reveal() == "..."
            assert "temperature" in client.get_repo("acme/weather").to_xarray()
            assert [token.name for token in client.list_tokens("acme")] == ["grace-laptop", "operator", "admin"]
        # Neither keys nor tokens came into a log.
        log = (tmp_path / "log").read_text()
        assert all(json.loads(line)["level"] == "info" for line in log.splitlines())
        for hidden in (admin, key, "PASSWORD"):
            assert hidden not in log
    finally:
        for database in (name, f"{name}_restored"):
            postgres.drop(database)
        postgres.execute(f"DROP ROLE IF EXISTS {name}")
