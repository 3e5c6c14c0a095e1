"""What al:// URLs name, and what is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arraylake_core.errors import InvalidNameError
from arraylake_core.integrations.url import RepoUrl

NAMED = {
    "al://": RepoUrl(),
    "al://me": RepoUrl("me"),
    "al://me/": RepoUrl("me"),
    "al://me/ocean": RepoUrl("me", "ocean"),
    "me/ocean/": RepoUrl("me", "ocean"),
    "al://me/ocean/daily/sst": RepoUrl("me", "ocean", None, "daily/sst"),
    "al://me/ocean@v1.0": RepoUrl("me", "ocean", "v1.0"),
    "al://me/ocean@feature%2Ftides/daily": RepoUrl("me", "ocean", "feature/tides", "daily"),
    "al://me/ocean@a@b=c+d/e@f": RepoUrl("me", "ocean", "a@b=c+d", "e@f"),
    "al://me/ocean@100%25/100%25": RepoUrl("me", "ocean", "100%", "100%25"),
    "al://me/ocean@%C3%A9t%C3%A9": RepoUrl("me", "ocean", "été"),
}


@pytest.mark.parametrize("text", NAMED)
def test_a_url_names_an_org_a_repo_a_ref_and_a_path(text):
    assert RepoUrl.parse(text) == NAMED[text]


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1).filter(lambda ref: ref.isprintable()), st.sampled_from(["", "daily", "a/b@c/100%"]))
def test_every_ref_has_a_url(ref, path):
    url = RepoUrl("me", "ocean", ref, path)
    assert RepoUrl.parse(str(url)) == url
    # What means something to fsspec in a URL is encoded: its chains, and what globs are made of.
    assert not set(url.version.partition("@")[2]) & set("/:*?[]#&;, ")


@pytest.mark.parametrize(
    "text",
    [
        "al://me/ocean/../other", "al://me/ocean/./a", "al://me/ocean//a", "al://me/ocean/a/..", "al://../ocean", "al://me/..", "al://me/ocean/a\0b",
        "al://me/ocean@", "al://me/ocean@/daily", "al://me/ocean@%ff", "al://me%2Focean/x", "al://me/oce%61n", "al://me/oc ean", "al://m/ocean",
        "al://me/ocean\u202e", "al://mе/ocean",
    ],
)  # fmt: skip
def test_p13_what_could_lead_elsewhere_is_no_url(text):
    with pytest.raises(InvalidNameError):
        RepoUrl.parse(text)
