"""What a user of the official client does; run by the Python that has it, with the service's URI and a token in the environment.

Arguments: organization, S3 endpoint, access key, secret key, bucket. Prints one JSON document a step.
"""

import json
import sys
import warnings

import arraylake
import numpy as np
import zarr
from arraylake import Client

warnings.simplefilter("ignore")
ORG, ENDPOINT, KEY, SECRET, BUCKET = sys.argv[1:6]
NICKNAME = "sea-" + arraylake.__version__.replace(".", "-")
NAME = f"{ORG}/ocean-{NICKNAME}"
client = Client()


def tell(step: str, found: object) -> None:
    print(json.dumps({"step": step, "found": found}), flush=True)


def refusal(work, *arguments, **options) -> str:
    try:
        work(*arguments, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


made = client.create_bucket_config(
    org=ORG,
    nickname=NICKNAME,
    uri=f"s3://{BUCKET}/{NICKNAME}",
    extra_config={"endpoint_url": ENDPOINT, "region_name": "us-east-1"},
    auth_config={"method": "hmac", "access_key_id": KEY, "secret_access_key": SECRET},
)
got = client.get_bucket_config(org=ORG, nickname=NICKNAME)
tell("bucket", [made.nickname, got.id == made.id, got.name, got.prefix])
tell("buckets", [bucket.nickname for bucket in client.list_bucket_configs(ORG)])
client.set_default_bucket_config(org=ORG, nickname=NICKNAME)
tell("default", client.get_bucket_config(org=ORG, nickname=NICKNAME).is_default)

repo = client.create_repo(NAME, description="Sea", metadata={"ocean": "arctic"})
session = repo.writable_session("main")
group = zarr.open_group(session.store, mode="a")
array = group.create_array("t", shape=(10,), chunks=(5,), dtype="f4")
array[:] = np.arange(10)
tell("commit", len(session.commit("Ten numbers")))
again = client.get_repo(NAME)
tell("read", zarr.open_group(again.readonly_session("main").store, mode="r")["t"][:].tolist())
client.create_repo(f"{ORG}/second-{NICKNAME}", bucket_config_nickname=NICKNAME)
tell("repos", [found.name for found in client.list_repos(ORG)])
tell("paginated", [found.name for found in client.list_repos_paginated(ORG, page_size=1)])
tell("filtered", [found.name for found in client.list_repos(ORG, filter_metadata={"ocean": "arctic"})])
client.modify_repo(NAME, description="Deep sea", add_metadata={"depth": 2}, update_metadata={"ocean": "antarctic"})
modified = client.get_repo_object(NAME)
tell("modified", [modified.description, modified.metadata])
tell("of the bucket", sorted(found.name for found in client.list_repos_for_bucket_config(org=ORG, nickname=NICKNAME)))
tell("taken", refusal(client.create_repo, NAME))
tell("in use", refusal(client.delete_bucket_config, org=ORG, nickname=NICKNAME, imsure=True, imreallysure=True))
for name in (NAME, f"{ORG}/second-{NICKNAME}"):
    client.delete_repo(name, imsure=True, imreallysure=True)
tell("gone", refusal(client.get_repo, NAME))
client.delete_bucket_config(org=ORG, nickname=NICKNAME, imsure=True, imreallysure=True)
tell("left", [[found.name for found in client.list_repos(ORG)], [bucket.nickname for bucket in client.list_bucket_configs(ORG)]])
