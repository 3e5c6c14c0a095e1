"""A stranger's platform, which only fsspec reaches: the client and other processes find it. Its own tests are with it, in examples/storage-sftp."""

import subprocess
import sys

from arraylake_core import Client


def test_the_client_and_another_process_use_it(sftp_bucket_config, tmp_path, own_home):
    catalog = f"sqlite:///{tmp_path}/catalog.db"
    with Client(catalog) as client:
        client.create_bucket_config(org="me", **sftp_bucket_config)
        client.set_default_bucket_config(org="me", nickname="sftp")
        report = client.probe_bucket_config(org="me", nickname="sftp")
        assert report.ok, report
    script = "import sys; from arraylake_core import Client; print(Client(sys.argv[1]).probe_bucket_config(org='me', nickname='sftp').ok)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", script, catalog], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True"
