"""What the guides show is run as their readers would run it, each guide in a folder of its own."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

from .support import needs

EXAMPLES = Path(__file__).parents[1] / "examples"
#: Scripts that are run one after the other in one folder.
GUIDES = [
    ["start.py"],
    ["torch_network.py"],
    ["flax_network.py"],
    ["hugging_face.py", "hugging_face.sh"],
    ["federated.py"],
    ["federated.sh"],
    ["patterns.py", "patterns.sh"],
    ["figures.sh"],
]
#: What scripts find in their folder.
BESIDE = ["narrow.toml"]
#: What torch's newer exporter needs besides what a script imports.
BEHIND = {"hugging_face.py": ["onnx", "onnxscript"]}
#: What stands for the networks of the demo, which takes a minute: the same kind, trained for a moment.
DEMO = "onebasin train mlp:512x3 --data digits --epochs 1 --seed {seed} -o onebasin-demo/{name}.safetensors"


def packages(script: Path) -> list[str]:
    """What a script imports, but for Python's own modules."""
    names = set(BEHIND.get(script.name, []))
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return sorted(names - set(sys.stdlib_module_names) - {"onebasin"})


class Examples(unittest.TestCase):
    def run_in(self, folder: str, command: list[str]) -> None:
        programs = Path(folder) / "programs"
        programs.mkdir(exist_ok=True)
        starter = programs / "onebasin"
        named = os.environ.get("ONEBASIN_PROGRAM")
        starter.write_text(f'#!/bin/sh\nexec {named or f"{sys.executable} -m onebasin"} "$@"\n', encoding="utf-8")
        starter.chmod(0o755)
        env = {
            **os.environ,
            "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join(sys.path),
            # Networks are small, and threads that wait for each other take longer than the work.
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8")
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[-4000:])

    def guide(self, *scripts: str) -> None:
        for script in scripts:
            if script.endswith(".py"):
                for package in packages(EXAMPLES / script):
                    needs(package)
            elif shutil.which("bash") is None:
                raise unittest.SkipTest("there is no bash")
        with TemporaryDirectory() as folder:
            for name in BESIDE:
                shutil.copy(EXAMPLES / name, folder)
            if scripts == ("start.py",):
                (Path(folder) / "onebasin-demo").mkdir()
                for seed, name in enumerate("ab"):
                    self.run_in(folder, DEMO.format(seed=seed, name=name).split())
            for script in scripts:
                shell = script.endswith(".sh")
                self.run_in(folder, [*(["bash", "-eu"] if shell else [sys.executable]), str(EXAMPLES / script)])

    def test_every_script_is_run(self) -> None:
        # The notebook has a test of its own.
        found = {path.name for path in EXAMPLES.iterdir() if path.is_file() and path.suffix != ".ipynb"}
        self.assertEqual(found, {script for scripts in GUIDES for script in scripts} | set(BESIDE))

    def test_start(self) -> None:
        self.guide("start.py")

    def test_torch(self) -> None:
        self.guide("torch_network.py")

    def test_flax(self) -> None:
        self.guide("flax_network.py")

    def test_hugging_face(self) -> None:
        self.guide("hugging_face.py", "hugging_face.sh")

    def test_federated(self) -> None:
        self.guide("federated.py")
        self.guide("federated.sh")

    def test_patterns(self) -> None:
        self.guide("patterns.py", "patterns.sh")

    def test_figures(self) -> None:
        self.guide("figures.sh")
