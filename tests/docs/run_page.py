"""The process in which a page's blocks run: ``python run_page.py PAGE STEPS PRINTED``.

STEPS is a JSON file with the steps, [language, text, line] each; PRINTED, which this process writes, has what each printed. A python block runs in one
namespace with those before it, as a script or a notebook would; a command is the program's own, called in this process, since starting it takes a second.
"""

import io
import json
import linecache
import sys
from contextlib import redirect_stdout
from pathlib import Path


def run_python(page: str, text: str, line: int, names: dict[str, object]) -> None:
    """Run a block so that a traceback shows the page's own lines."""
    source = "\n" * (line - 1) + text
    linecache.cache[page] = (len(source), None, source.splitlines(keepends=True), page)
    exec(compile(source, page, "exec"), names)


def run_command(words: list[str]) -> None:
    """Run a command of the program; where it leaves with an error, so does this process."""
    from arraylake_core.cli.program import run

    try:
        run(words)
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{' '.join(words)}: exit code {end.code}") from None


def main(page: str, steps: Path, printed: Path) -> None:
    """Run the steps one after the other."""
    names: dict[str, object] = {"__name__": "__main__", "__file__": page}
    outputs: list[str] = []
    for language, content, line in json.loads(steps.read_text()):
        kept = io.BytesIO()
        with redirect_stdout(io.TextIOWrapper(kept, encoding="utf-8", write_through=True)) as output:
            if language == "python":
                run_python(page, content, line, names)
            else:
                run_command(content)
            output.flush()
        outputs.append(kept.getvalue().decode())
    printed.write_text(json.dumps(outputs))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
