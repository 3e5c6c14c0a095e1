"""Every promise that this release makes has tests that carry its number, and docs/security.md lists exactly those.

``python tests/end_to_end/test_promises.py`` writes the list anew.
"""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
PLACES = ("arraylake_core", "plugins", "tests")
PROMISES = {
    1: "API tokens are kept as a keyed hash alone, shown once, and compared in constant time; no table, file or backup holds one, or a piece of it.",
    2: "A token that was revoked or has expired, and rights that were taken away, end on every replica within 5 seconds.",
    3: "A token never does more than its person and the token that it was made with may do, now or later.",
    4: "An ID token is taken only where its signature, issuer, audience and times hold; unknown key ids make the service ask at a bounded rate.",
    5: "Logins by a code in the terminal follow RFC 8628: interval, slow_down, an end, and one use.",
    6: "Logins in the browser follow RFC 8252, 7636 and 9700: PKCE, state, nonce and issuer, a loopback page for one request, rotation of refresh tokens.",
    7: "What is kept of a login is its owner's alone, and whole; however many processes need it renewed, one does.",
    8: "A bad or unknown setting of who may call stops the service from starting; without authentication it needs a flag, and listens on loopback only.",
    9: "Storage secrets are encrypted at rest, each bound to its row: a ciphertext that is moved or changed fails. Keys rotate. No key, no start.",
    10: "No secret shows in a repr, text, log, traceback, JSON or the command line's output.",
    11: "Pickles of clients, repos, sessions and stores carry no long-lived secret; a new process gets credentials of its own.",
    12: "The long-lived keys of a bucket config whose method mints credentials never leave the server.",
    13: "Prefixes and paths are checked once, and confined to their bucket config.",
    14: "No two live repos overlap in storage, whatever the order of requests and the spelling of the endpoint; the database itself sees to it.",
    15: "Short-lived credentials reach exactly the repo's place, and exactly what the caller may do there: the store itself refuses all else.",
    16: "No URL that a user gives, of an endpoint or a webhook, makes the service reach internal addresses, whatever its spelling and whenever it is resolved.",
    17: "Virtual chunks are read from granted places only, each with its own credentials, never with the repo's.",
    18: "A bucket is called safe for concurrent commits only where conditional writes are seen to work.",
    19: "The permissions of all routes are one table, and every kind of caller gets what it says; what is hidden looks exactly like what is missing.",
    20: "Nobody gets more rights in a roundabout way; the last admin stays.",
    21: "No update is lost: of processes that commit at once, of workers that share a session, and where the answer to a commit was cut off.",
    22: "A crash at any point leaves nothing, or a record that `repair_repos` mends; what was committed to a V1 repo stays whole.",
    23: "Collecting garbage deletes nothing that is reached or young, with commits, new branches, live sessions and another collection going on.",
    24: "Old catalogs and repos open, and newer ones where only something was added; others are refused with what to upgrade. Migrations that run twice or are "
    "interrupted, or while requests go on, do no harm.",
    25: "A plugin that fails, or gives back what it should not, takes nothing else down.",
    26: "A process asks for credentials once per lifetime of a set; a failed refresh keeps a set that is valid, and never falls to what lies around.",
    27: "Threads, several event loops, fork, spawn and a notebook's running loop all work, and nothing is left unclosed.",
}
_TEST = re.compile(r"^ *(?:async )?def (test((?:_p\d+)+)_\w+)", re.MULTILINE)
_MARKS = ("<!-- tests -->\n", "<!-- end -->\n")


def proofs() -> dict[int, dict[str, list[str]]]:
    """Return, for each promise, each file and the tests in it that carry its number."""
    found: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(path for place in PLACES for path in (ROOT / place).rglob("*.py")):
        for name, numbers in _TEST.findall(path.read_text()):
            for number in re.findall(r"\d+", numbers):
                found[int(number)][str(path.relative_to(ROOT))].append(name)
    return found


def listing() -> str:
    """Return the list of promises and their tests, as Markdown."""
    found = proofs()
    lines: list[str] = []
    for number, promise in PROMISES.items():
        lines += [f"### P{number}", "", promise, ""]
        for path, names in found[number].items():
            lines += [f"- [{path}](../{path}): " + ", ".join(f"`{name}`" for name in names)]
        lines.append("")
    return "\n".join(lines)


def test_every_promise_has_a_test() -> None:
    found = proofs()
    assert [f"P{number}" for number in PROMISES if not found[number]] == []


def test_the_page_lists_the_tests_that_exist() -> None:
    listed = PAGE.read_text().split(_MARKS[0])[1].split(_MARKS[1])[0]
    assert listed == listing(), "run `python tests/end_to_end/test_promises.py`, which writes docs/security.md anew"


def _rewrite() -> None:
    before, rest = PAGE.read_text().split(_MARKS[0])
    PAGE.write_text(before + _MARKS[0] + listing() + _MARKS[1] + rest.split(_MARKS[1])[1])


if __name__ == "__main__":
    _rewrite()
