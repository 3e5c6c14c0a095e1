"""Every page says what is true: its code and its commands run, in order, in one process with an empty home, and print what stands below them."""

import doctest
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from arraylake_core.config import known
from tests.docs.blocks import DOCS, ROOT, Block, blocks_of, pages
from tests.docs.shell import check_call, words_of
from tests.docs.stages import staged

# Pages whose code and commands other tests run, since their readers do more than type it in.
RUN_ELSEWHERE = {
    "plugin-author-guide.md": "tests/end_to_end/test_plugin_author_guide.py",
    "production.md": "tests/service/test_deploy.py",
}
RUN = {"python", "console"}
LOOKED_AT = {"sh", "yaml", "toml", "json", "text"}
HERE = Path(__file__).parent
_ANOTHER_EACH_TIME = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9A-Z]{20}\b"
)
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PAGES_THAT_RUN = [
    page for page in pages() if page not in RUN_ELSEWHERE and any(block.language in RUN for block in blocks_of(page))
]


def steps_of(page: str) -> Iterator[tuple[str, str, int, str]]:
    """Yield what runs: its language, its text, its line, and what it must print ("" is anything)."""
    found = list(blocks_of(page))
    for block, following in zip(found, [*found[1:], Block("", "", "", 0)], strict=True):
        if block.language == "python":
            yield "python", block.text, block.line, following.text if following.title == "Output" else ""
        elif block.language == "console":
            for offset, part in _commands(block.text):
                command, _, expected = part.partition("\n")
                yield "console", command, block.line + offset, expected


def _commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield each command, with what stands below it."""
    starts = [found.end() for found in re.finditer(r"^\$ ", text, re.MULTILINE)]
    for start, end in zip(starts, [*(start - 2 for start in starts[1:]), len(text)], strict=True):
        yield text.count("\n", 0, start), re.sub(r" \\\n +", " ", text[start:end])


@pytest.mark.parametrize("page", PAGES_THAT_RUN)
def test_its_code_and_its_commands_run(page: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    steps, printed, runner = tmp_path / "steps.json", tmp_path / "printed.json", HERE / "run_page.py"
    home = tmp_path / "home"
    home.mkdir()
    with staged(page, request, home) as stage:
        wanted = list(steps_of(page))
        steps.write_text(
            json.dumps([[language, _runnable(language, stage.text(text)), line] for language, text, line, _ in wanted])
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", runner, DOCS / page, steps, printed],
            capture_output=True,
            text=True,
            cwd=home,
            env=stage.environment,
            timeout=300,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for (_, text, line, expected), output in zip(wanted, json.loads(printed.read_text()), strict=True):
        if expected:
            same = doctest.OutputChecker().check_output(_masked(expected), _masked(stage.told(output)), _FLAGS)
            assert same, f"{page}:{line}: {text}\nprinted\n{output}\nand not\n{expected}"
        for secret in _secrets(stage.environment):
            assert secret not in output


def _masked(output: str) -> str:
    """Return what is printed without what is another each time: times, and the ids of commits, people and requests."""
    return _ANOTHER_EACH_TIME.sub("#", output)


def _runnable(language: str, text: str) -> str | list[str]:
    if language == "python":
        return text
    program, *words = shlex.split(text)
    assert program == "arraylake-core", text
    return words


def _secrets(environment: Mapping[str, str]) -> list[str]:
    return [environment[name] for name in ("AWS_SECRET_ACCESS_KEY", "LAKE_SAS", "ARRAYLAKE_TOKEN") if name in environment]


@pytest.mark.parametrize("page", pages())
def test_what_does_not_run_is_looked_at(page: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for block in blocks_of(page):
        where = f"{page}:{block.line}"
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                for words in words_of(line):
                    check_call(words)
            for extra in re.findall(r"arraylake-core\[([\w,-]+)\]", block.text):
                assert set(extra.split(",")) <= set(extras), where
        elif block.language == "yaml":
            for name in _settings(yaml.safe_load(block.text)):
                known(name)
        elif block.language == "toml":
            assert tomllib.loads(block.text), where
        elif block.language == "json":
            assert json.loads(block.text), where
        elif block.language not in LOOKED_AT and page not in RUN_ELSEWHERE:
            assert block.language in RUN, f"{where}: nobody runs or looks at {block.language or 'a block without a language'}"


def _settings(values: Mapping[str, object], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


@pytest.mark.parametrize("page", pages())
def test_every_fence_is_a_block(page: str) -> None:
    """A fence that the pattern of blocks misses would be run by nobody."""
    assert len(re.findall(r"^ *(?:```|~~~)", (DOCS / page).read_text(), re.MULTILINE)) == 2 * len(list(blocks_of(page)))


@pytest.mark.parametrize("page", pages())
def test_commands_in_the_text_exist(page: str) -> None:
    for call in re.findall(r"(?<!`)`(arraylake-core [^`]+)`", (DOCS / page).read_text()):
        for words in words_of(call):
            check_call(words)


@pytest.mark.parametrize(("page", "test"), RUN_ELSEWHERE.items())
def test_pages_that_run_elsewhere_do(page: str, test: str) -> None:
    assert f'"{page}"' in (ROOT / test).read_text()
