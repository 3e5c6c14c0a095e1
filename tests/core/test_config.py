"""Settings: what wins over what, and what is refused."""

import subprocess
import sys

import pytest

from arraylake_core import config
from arraylake_core.errors import InvalidOptionError


def test_set_wins_over_the_environment_which_wins_over_a_file(own_home, monkeypatch):
    directory = own_home / ".config" / "arraylake"
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text("user:\n  name: from the file\n  email: file@example.org\n")
    monkeypatch.setenv("ARRAYLAKE_USER__NAME", "from the environment")
    script = """
from arraylake_core import config
print(config.get_str("user.name"), config.get_str("user.email"))
with config.set({"user.name": "from set"}):
    print(config.get_str("user.name"))
print(config.get_str("user.name"))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["from the environment file@example.org", "from set", "from the environment"]


def test_a_file_that_is_no_yaml_is_named_in_one_sentence(own_home):
    directory = own_home / ".config" / "arraylake"
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text("{user: [CANARY")
    script = "from arraylake_core import config; config.get_str('user.name')"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "InvalidOptionError: the settings can't be read: A config file at" in run.stderr
    assert "CANARY" not in run.stderr


def test_unknown_and_wrong_settings_are_refused():
    with pytest.raises(InvalidOptionError, match="unknown setting 'user.nam'"):
        config.set({"user.nam": "x"})
    with config.set({"repo.restore_days": "many"}), pytest.raises(InvalidOptionError, match="must be a number"):
        config.get_float("repo.restore_days")
    with config.set({"plugins.prefer": "x"}), pytest.raises(InvalidOptionError, match="must be a mapping"):
        config.get_mapping("plugins.prefer")


def test_p10_secret_settings_and_passwords_in_uris_are_shown_as_stars():
    with config.set({"catalog.key": "CANARY", "service.uri": "postgresql://lake:CANARY@db/lake"}):
        assert "CANARY" not in str(config.as_dict())
        assert config.as_dict()["service.uri"] == "postgresql://lake:***@db/lake"


def test_what_nothing_reads_is_listed_with_what_may_be_meant(own_home, monkeypatch):
    directory = own_home / ".config" / "arraylake"
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text("service:\n  isuers: []\nuser:\nmine: {a: 1}\nrepo: {restore-days: many}\n")
    monkeypatch.setenv("ARRAYLAKE_LOGIN__CLIENT", "x")
    monkeypatch.setenv("ARRAYLAKE_SERVICE_ALLOW_NETWORKS", "x")
    script = "from arraylake_core import config; print(*config.problems(), sep=chr(10))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert sorted(run.stdout.splitlines()) == [
        "the setting 'repo.restore_days' must be a number: see `arraylake-core config list`",
        "unknown setting 'login.client': did you mean 'login.client_id'?",
        "unknown setting 'mine.a'",
        "unknown setting 'service.isuers': did you mean 'service.issuers'?",
        "unknown setting 'service_allow_networks': did you mean 'service.allow_networks'?",
    ]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SERVICE__REQUEST_PER_SECOND", "service.requests_per_second"),
        ("SERVICE__ISSUER", "service.issuers"),
        ("SERVICE_ALLOW_NETWORKS", "service.allow_networks"),
        ("SERVICES__ISSUERS", "service.issuers"),
        ("CATALOG__KEYS", "catalog.key"),
        ("DELEGATION__GOGLE__KEY_FILE", "delegation.google.key_file"),
        ("DELEGATION__AWS__SECRET_ACCES_KEY", "delegation.aws.secret_access_key"),
    ],
)
def test_p8_an_unknown_name_is_refused_where_rules_are(monkeypatch, variable, meant):
    monkeypatch.setenv(f"ARRAYLAKE_{variable}", "CANARY")
    config.refresh()
    with pytest.raises(InvalidOptionError, match=f"did you mean '{meant}'") as refused:
        config.check_names("service", "catalog", "delegation")
    assert "CANARY" not in str(refused.value)


def test_names_of_others_are_let_be(monkeypatch):
    """Kubernetes tells pods of a service named ``arraylake``, and plugins have settings of their own."""
    for variable in (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "PORT_8000_TCP_PROTO",
        "TOKEN",
        "DELEGATION__ACME__KEY_FILE",
        "CHUNKSTORE__URI",
    ):
        monkeypatch.setenv(f"ARRAYLAKE_{variable}", "x")
    config.refresh()
    config.check_names("service", "catalog", "delegation")
