"""Writes the page of the Python package, `reference/python.md`, from its signatures and docstrings.

    python docs/package.py
"""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import onebasin

PAGE = Path(__file__).parent / "reference" / "python.md"
HEAD = """# The Python package

*Made from the package's docstrings by `docs/package.py`; do not edit.* `help(onebasin)` tells the same.
"""
ORDER = {
    "Functions": ["symmetry", "match", "merge", "merge_many", "repair", "barrier", "diagnose", "template", "load", "save"],
    "What they return": ["Symmetry", "Group", "Check", "Alignment", "Perms", "Diagnosis", "Mean", "Repaired", "Barrier", "Curve", "Template"],
    "What a match may look at": ["Source", "Activations"],
    "Notes and errors": ["Note", "Error", "FormatError", "SymmetryError"],
    "Version": ["__version__"],
}


def markdown(text: str | None) -> str:
    """A docstring as Markdown: roles and double backticks become code, examples become blocks."""
    text = inspect.cleandoc(text or "")
    text = re.sub(r":(?:class|meth|func):`([^`]+)`", r"`\1`", text).replace("``", "`")
    blocks = []
    for block in re.split(r"\n{2,}", text):
        blocks.append(f"```python\n{block}\n```" if block.startswith(">>>") else block)
    return "\n\n".join(blocks)


def signature(name: str, what: Any) -> str:
    """How it is called: on one line where that is short, else an argument a line."""
    found = inspect.signature(what)
    returns = "" if found.return_annotation is found.empty else f" -> {_type(found.return_annotation)}"
    parts: list[str] = []
    for p in found.parameters.values():
        if p.kind is p.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        if p.name != "self":
            stars = "**" if p.kind is p.VAR_KEYWORD else ""
            default = "" if p.default is p.empty else f' = "{p.default}"' if isinstance(p.default, str) else f" = {p.default!r}"
            parts.append(f"{stars}{p.name}: {_type(p.annotation)}{default}")
    short = f"{name}({', '.join(parts)}){returns}"
    return short if len(short) <= 90 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def told(lines: list[str], before: int) -> str:
    """The comment of `#:` that stands before a line."""
    said: list[str] = []
    for line in reversed(lines[:before]):
        if not line.strip().startswith("#:"):
            break
        said.insert(0, line.strip().removeprefix("#:").strip())
    return " ".join(said)


def fields(what: Any) -> list[str]:
    """The fields of a class that are declared in it, or set as documented attributes."""
    lines = textwrap.dedent(inspect.getsource(what)).splitlines()
    made = []
    for k, line in enumerate(lines):
        declared = re.match(r"^ {4}(\w+): ([^=]+?)(?: = .*)?$", line)
        attribute = re.match(r"^ {8}self\.([a-z]\w*): ([^=]+?) = ", line)
        found = declared if declared and declared[1] in what.__annotations__ else attribute
        if found:
            name, kind = found.groups()
            made.append(f"- `{name}: {kind}` " + markdown(told(lines, k)))
    return [line.rstrip() for line in made]


def members(what: Any) -> list[str]:
    """Methods and properties that are told."""
    made = []
    for name, member in vars(what).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        if isinstance(member, property):
            head = f"{what.__name__}.{name}: {_type(inspect.signature(function).return_annotation)}"
        else:
            head = signature(f"{what.__name__}.{name}", function)
        made += [f"```python\n{head}\n```", markdown(function.__doc__)]
    return made


def entry(name: str) -> list[str]:
    """The section of one public name."""
    what = getattr(onebasin, name)
    if name == "__version__":
        return ["### \\_\\_version\\_\\_", "The version of the package, which is that of the program."]
    made = [f"### {name}"]
    if not isinstance(what, type):
        return [*made, f"```python\n{signature('onebasin.' + name, what)}\n```", markdown(what.__doc__)]
    if issubclass(what, (Exception, Warning)):
        bases = ", ".join(base.__name__ for base in what.__bases__)
        return [*made, f"```python\nclass onebasin.{name}({bases})\n```", markdown(what.__doc__)]
    documented = [] if (what.__doc__ or "").startswith(f"{name}(") else [markdown(what.__doc__)]
    listed = fields(what)
    return [*made, *documented, *(["\n".join(listed)] if listed else []), *members(what)]


def page() -> str:
    """The whole page."""
    listed = [name for names in ORDER.values() for name in names]
    assert sorted(listed) == sorted(onebasin.__all__), set(listed) ^ set(onebasin.__all__)
    made = [HEAD.rstrip(), markdown(onebasin.__doc__)]
    for title, names in ORDER.items():
        made.append(f"## {title}")
        for name in names:
            made += entry(name)
    return "\n\n".join(part for part in made if part) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
