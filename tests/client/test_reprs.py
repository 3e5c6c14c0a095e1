"""Records as notebooks and terminals show them."""

from io import StringIO

from rich.console import Console

from arraylake_core import Client

SCRIPT = "<script>alert(1)</script> [bold]"


def rendered(value):
    console = Console(width=200, record=True, file=StringIO())
    console.print(value)
    return console.export_text()


def test_what_a_description_says_stays_text():
    with Client("memory://") as client:
        client.create_repo("me/ocean", description=SCRIPT, metadata={"<b>": "<i>"})
        for shown in (client.get_repo_object("me/ocean"), client.list_repos("me")):
            assert "<script>" not in shown._repr_html_()
            assert "&lt;script&gt;" in shown._repr_html_()
            assert SCRIPT in rendered(shown)
        assert "&lt;b&gt;" in client.get_repo_object("me/ocean")._repr_html_()


def test_p10_a_bucket_config_shows_its_method_and_no_secret():
    with Client("memory://") as client:
        auth = {"method": "hmac", "access_key_id": "KEYID", "secret_access_key": "CANARY"}
        made = client.create_bucket_config(org="me", nickname="sea", uri="s3://sea/lake", auth_config=auth)
        for shown in (made, client.get_bucket_config(org="me", nickname="sea"), client.list_bucket_configs("me")):
            for text in (shown._repr_html_(), rendered(shown)):
                assert "s3://sea/lake" in text
                assert "hmac" in text
                assert "CANARY" not in text
