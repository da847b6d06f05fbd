"""Writes the page of the program's verbs and options, `reference/program.md`, from what `onebasin VERB --help` prints.

    python docs/program.py

The program is the one that ONEBASIN_PROGRAM names, or that of the Python package.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "reference" / "program.md"
HEAD = """# The program

*Made from what the program prints by `docs/program.py`; do not edit.*

`onebasin VERB --help` tells the same. Results go to standard output (`--json` for machines), talk to standard error. Exit codes: \
0 done, 1 failed, 2 wrong usage. `python -m onebasin` is the same program.
"""
#: What every verb takes; told once.
COMMON = "Options of every command"
ENTRY = re.compile(r"^ {2,6}((?:-\w, )?--?[\w-]+(?:\.\.\.)?(?: <[^>]+>)*|[<\[][^>\]]+[>\]](?:\.\.\.)?(?: <[^>]+>\.\.\.)?)(?: {2,}(\S.*))?$")
VALUE = re.compile(r"^ *- ([\w-]+): +(\S.*)$")


def program() -> list[str]:
    """How the program is started."""
    named = os.environ.get("ONEBASIN_PROGRAM")
    return [named] if named else [sys.executable, "-m", "onebasin"]


def printed(*arguments: str) -> str:
    """What the program prints."""
    return subprocess.run([*program(), *arguments], check=True, capture_output=True, encoding="utf-8").stdout


def sections(text: str) -> dict[str, list[str]]:
    """The parts of a help text by their titles; what stands before the first one is ``""``."""
    found: dict[str, list[str]] = {"": []}
    title = ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            title = line.removesuffix(":")
            found[title] = []
        else:
            found[title].append(line)
    return found


def plain(text: str) -> str:
    """A text of the program as Markdown: what is no code there stays as it is."""
    parts = text.split("`")
    return "`".join(part if k % 2 else re.sub(r"([*<\[|])", r"\\\1", part) for k, part in enumerate(parts))


def entries(lines: list[str]) -> list[str]:
    """Options with what they do, as a list of Markdown."""
    made: list[str] = []
    values = False
    for line in lines:
        entry, value = ENTRY.match(line), VALUE.match(line)
        if entry:
            values = False
            made.append(f"- **`{entry[1]}`** " + plain(entry[2] or ""))
        elif line.strip() == "Possible values:":
            values = True
        elif values and value:
            made.append(f"  - `{value[1]}`: {plain(value[2])}")
        elif line.strip():
            last_value = made[-1].startswith("  - ")
            if last_value and line.strip().startswith("[default"):
                first = next(k for k in reversed(range(len(made))) if made[k].startswith("- "))
                made[first] += " " + plain(line.strip())
            else:
                made[-1] = made[-1].rstrip() + " " + plain(line.strip())
    return made


def names(parts: dict[str, list[str]]) -> list[str]:
    """The verbs that a help text lists."""
    found = (re.match(r"  (\S+)  ", line) for line in parts.get("Commands", []))
    return [entry[1] for entry in found if entry and entry[1] != "help"]


def verb(*name: str) -> list[str]:
    """The section of one verb, or those of the verbs below it."""
    parts = sections(printed(*name, "--help"))
    below = names(parts)
    if below:
        return [line for one in below for line in verb(*name, one)]
    usage = next(line for line in parts[""] if line.startswith("Usage: "))
    about = " ".join(line for line in parts[""] if line and line != usage)
    made = [f"## {' '.join(name)}", "", about + ".", "", "```text", usage.removeprefix("Usage: "), "```", ""]
    for title, lines in parts.items():
        if title in ("", COMMON, "Example", "Examples"):
            continue
        kept = [line for line in entries(lines) if not re.match(r"- \*\*`-[hV], ", line)]
        made += [f"{title}:", "", *kept, ""] if kept else []
    for title, lines in parts.items():
        if title in ("Example", "Examples"):
            end = next((k for k, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
            made += ["```sh", *(line.removeprefix("  ") for line in lines[:end] if line), "```", ""]
            rest = " ".join(line for line in lines[end:] if line)
            made += [plain(rest), ""] if rest else []
    return made


def page() -> str:
    """The whole page."""
    top = sections(printed("--help"))
    made = [HEAD, "## Options of every verb", "", *entries(top[COMMON]), ""]
    for name in names(top):
        made += verb(name)
    return "\n".join(made).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
