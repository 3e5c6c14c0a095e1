"""``arraylake-core serve``: it starts only where it can be trusted, says when it is ready, and stops without breaking anything off."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives import serialization

from arraylake_core import Client, config
from arraylake_core.errors import AuthenticationError, InvalidOptionError, ServiceError

PROGRAM = str(Path(sys.executable).with_name("arraylake-core"))


class Started:
    """The program in a process of its own."""

    def __init__(self, directory: Path, *more: str, **environment: str) -> None:
        self.log = directory / "log"
        words = [PROGRAM, "serve", "--port", "0", *more]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(words, env=os.environ | environment, stdout=subprocess.PIPE, stderr=log, text=True)
        self.line = self.process.stdout.readline().strip()
        self.uri = self.line.removeprefix("Listening on ")

    def __enter__(self) -> Self:
        assert self.line.startswith("Listening on "), self.log.read_text()
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


def refused(*more: str, **environment: str) -> str:
    done = subprocess.run(
        [PROGRAM, "serve", "--port", "0", *more], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalog.db"


def test_p8_what_is_not_safe_does_not_start(database: str, tmp_path: Path) -> None:
    assert "--host 127.0.0.1" in refused("--database", database, "--no-auth", "--host", "0.0.0.0")
    assert "service.auth" in refused("--database", database, ARRAYLAKE_SERVICE__AUTH="nonsense")
    assert "--no-auth" in refused("--database", database, ARRAYLAKE_SERVICE__AUTH="none")
    assert "service.allow_networks" in refused("--database", database, ARRAYLAKE_SERVICE__ALLOW_NETWORKS="10.0.0.0/99")
    assert "service.requests_per_second" in refused("--database", database, ARRAYLAKE_SERVICE__REQUEST_PER_SECOND="5")
    assert "--tls-key" in refused("--database", database, "--tls-certificate", "cert.pem")
    assert "--database" in refused()
    assert "another service" in refused("--database", "https://example.org")
    assert not (tmp_path / "catalog.db").exists()


def test_p9_no_key_no_start(database: str, tmp_path: Path) -> None:
    made = subprocess.run(
        [PROGRAM, "admin", "create-org", "acme", "--admin-email", "ada@example.org", "--database", database],
        capture_output=True,
        timeout=60,
    )
    assert made.returncode == 0
    (tmp_path / "catalog.key").rename(tmp_path / "elsewhere")
    assert "key" in refused("--database", database)
    (tmp_path / "elsewhere").rename(tmp_path / "catalog.key")
    with Started(tmp_path, "--database", database):
        pass


def test_p16_a_service_behind_a_proxy_on_its_own_machine_calls_nothing_on_it(database: str, tmp_path: Path) -> None:
    """Buckets may be where clients reach them; webhooks are called by the service itself."""
    with Started(tmp_path, "--database", database, "--no-auth") as service, Client(service.uri) as client:
        made = client.create_bucket_config(
            org="me",
            nickname="here",
            uri="s3://lake",
            extra_config={"endpoint_url": "http://127.0.0.1:9000", "region_name": "us-east-1"},
        )
        assert made.nickname == "here"
        request = urllib.request.Request(
            f"{service.uri}/orgs/me/webhooks", data=b'{"url": "https://127.0.0.1:9/"}', method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value as answer:
            assert answer.status == 422
            assert b"not public" in answer.read()


def test_requests_under_way_are_finished_when_it_stops(database: str, tmp_path: Path) -> None:
    with Started(tmp_path, "--database", database, "--no-auth") as service:
        names: list[str] = []
        answered = threading.Semaphore(0)
        begun = threading.Barrier(5)

        def create(number: int) -> None:
            with config.set({"service.retry_seconds": 0}), Client(service.uri) as client:
                begun.wait(30)
                for repeat in range(50):
                    try:
                        names.append(client.create_org(f"org-{number}-{repeat}").name)
                        answered.release()
                    except ServiceError:
                        return

        threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        begun.wait(30)
        for _ in range(8):
            assert answered.acquire(timeout=30)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        for thread in threads:
            thread.join(60)
        with Client(database) as client:
            kept = {org.name for org in client.list_orgs()} - {"me"}
        # Whatever was answered is there, and what is there was answered: nothing was broken off between the two.
        assert kept == set(names)
        logged = [json.loads(line) for line in service.log.read_text().splitlines()]
        assert {"create_org"} <= {line.get("operation") for line in logged}
        assert all({"time", "level", "message"} <= line.keys() for line in logged)


def test_probes_that_go_well_are_not_logged(database: str, tmp_path: Path) -> None:
    with Started(tmp_path, "--database", database) as service:
        for path in ("/health", "/ready", "/auth/config"):
            with urllib.request.urlopen(service.uri + path, timeout=30) as answer:
                assert answer.status == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
    logged = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert [line["operation"] for line in logged if "operation" in line] == ["login_settings"]


def test_tls(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key, authority = certificates(tmp_path)
    with Started(tmp_path, "--database", database, "--no-auth", "--tls-certificate", certificate, "--tls-key", key) as service:
        assert service.uri.startswith("https://127.0.0.1:")
        with (
            config.set({"service.retry_seconds": 0}),
            Client(service.uri) as client,
            pytest.raises(ServiceError, match="can't be reached"),
        ):
            client.list_orgs()
        script = f"from arraylake_core import Client\nprint(Client({service.uri!r}).list_orgs()[0].name)"
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"SSL_CERT_FILE": authority},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout == "me\n", done.stderr


def certificates(directory: Path) -> tuple[str, str, str]:
    """Return the files of a certificate for 127.0.0.1, its key, and the authority that signed it."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    def signed(name: str, key, issuer: str, issuer_key, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        )
        return builder.sign(issuer_key, hashes.SHA256())

    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    files = {
        "authority.pem": signed("Tests", root, "Tests", root, authority=True).public_bytes(pem),
        "certificate.pem": signed("127.0.0.1", own, "Tests", root, authority=False).public_bytes(pem),
        "key.pem": own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return str(directory / "certificate.pem"), str(directory / "key.pem"), str(directory / "authority.pem")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("https://", "https://host"),
        ("https://user:CANARY@example.org", "without user"),
        ("https://example.org/?token=CANARY", "without user"),
        ("http://example.org", "service.allow_http"),
        ("ftp://example.org", "catalog URI"),
        ("https://host:99999", "https://host"),
    ],
)
def test_uris_of_services(uri: str, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said) as caught:
        Client(uri)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("token", ["ema_", "nonsense", "ema_CANARY with space", " ema_CANARYCANARY", "Bearer ema_CANARY"])
def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(InvalidOptionError, match="copy it anew") as caught:
        Client("https://example.org", token=token)
    assert "CANARY" not in str(caught.value)


def test_p11_a_client_finds_its_token_again_and_no_pickle_has_it(database: str, tmp_path: Path) -> None:
    import pickle

    create = ["admin", "create-org", "acme", "--admin-email", "ada@example.org", "--database", database, "--output", "json"]
    token = json.loads(subprocess.run([PROGRAM, *create], check=True, capture_output=True, timeout=60).stdout)["token"]
    with Started(tmp_path, "--database", database) as service, Client(service.uri, token=token) as client:
        assert client.whoami().roles == {"acme": "admin"}
        pickled = pickle.dumps(client)
        assert not any(token[start : start + 12].encode() in pickled for start in range(len(token) - 12))
        assert pickle.loads(pickled).whoami().email == "ada@example.org"
        assert token not in f"{client} {client!r} {vars(client)} {client.service_uri}"
        (tmp_path / "pickle").write_bytes(pickled)
        script = f"import pickle\nprint(pickle.load(open({str(tmp_path / 'pickle')!r}, 'rb')).whoami().email)"
        words = [sys.executable, "-c", script]
        done = subprocess.run(words, env=os.environ | {"ARRAYLAKE_TOKEN": token}, capture_output=True, text=True, timeout=60)
        assert done.stdout == "ada@example.org\n", done.stderr
        without = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert "or ARRAYLAKE_TOKEN" in without.stderr
        with Client(service.uri) as nobody, pytest.raises(AuthenticationError, match="ARRAYLAKE_TOKEN"):
            nobody.list_orgs()
