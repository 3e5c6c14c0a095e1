"""Names: what is taken, and what is refused with the rule that it breaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arraylake_core import names
from arraylake_core.errors import InvalidNameError

BAD_NAMES = [
    "",
    "a",
    "x" * 300,
    "two words",
    "sl/ash",
    "dot..dot",
    "-dash",
    ".hidden",
    "оcean",  # a Cyrillic o
    "ocean\u200b",
    "ocean\n",
    "o\x00cean",
    "ocean%2f",
    "back\\slash",
]

BAD_PREFIXES = [
    "/lead",
    "trail/",
    "a//b",
    "..",
    "a/../b",
    "a/./b",
    "a..b",
    "back\\slash",
    "nul\x00",
    "per%2e%2e",
    "%252e",
    "uni\u2215code",
    "full\uff0ewidth",
    "sp ace",
    "s3://bucket",
    "a" * 257,
    "new\n",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_repo_names_are_refused(name):
    with pytest.raises(InvalidNameError, match="org/repo|is no valid|more than one slash"):
        names.parse_repo_name(f"me/{name}")


@pytest.mark.parametrize("name", ["ocean", "", "me", 7, None])
def test_a_name_without_organization_says_how_to_write_it(name):
    with pytest.raises(InvalidNameError, match="'org/repo'"):
        names.parse_repo_name(name)


@pytest.mark.parametrize("name", ["settings", "new", "Admin"])
def test_reserved_words_are_refused_for_new_repos_only(name):
    assert names.parse_repo_name(f"me/{name}").repo == name
    with pytest.raises(InvalidNameError, match="choose another"):
        names.parse_repo_name(f"me/{name}", new=True)


@pytest.mark.parametrize("prefix", BAD_PREFIXES)
def test_p13_bad_prefixes_are_refused(prefix):
    with pytest.raises(InvalidNameError, match="no valid prefix"):
        names.validate_prefix(prefix)


@given(st.text(max_size=40))
def test_p13_what_passes_as_a_prefix_is_the_same_string_everywhere(text):
    from urllib.parse import quote, unquote

    try:
        prefix = names.validate_prefix(text)
    except InvalidNameError:
        return
    assert prefix == text
    assert quote(prefix, safe="/=") == prefix == unquote(prefix)
    assert all(part not in ("", ".", "..") for part in prefix.split("/")) or prefix == ""


def test_p13_generated_prefixes_have_safe_characters_only():
    drawn = {names.generate_prefix() for _ in range(200)}
    assert len(drawn) == 200
    assert all(set(prefix) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for prefix in drawn)


def test_an_error_shows_a_long_or_strange_name_cut_and_escaped():
    with pytest.raises(InvalidNameError) as caught:
        names.validate_org("\u202e" + "x" * 299)
    assert "\\u202e" in str(caught.value)
    assert len(str(caught.value)) < 250
