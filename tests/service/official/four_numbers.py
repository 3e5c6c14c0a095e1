"""Write or read the array ``t`` of a repo; run by the Python that has the official client. Arguments: write or read, repo[, spec version]."""

import json
import sys

import numpy as np
import zarr
from arraylake import Client

done, name = sys.argv[1:3]
client = Client()
if done == "create":
    options = {"spec_version": int(sys.argv[3])} if len(sys.argv) > 3 else {}
    client.create_repo(name, **options)
repo = client.get_repo(name)
if done in ("create", "write"):
    session = repo.writable_session("main")
    group = zarr.open_group(session.store, mode="a")
    array = group.require_array("t", shape=(4,), chunks=(2,), dtype="i4")
    array[:] = np.arange(4) + (10 if done == "write" else 0)
    session.commit(done)
print(json.dumps(zarr.open_group(repo.readonly_session("main").store, mode="r")["t"][:].tolist()))
