"""Every verb prints JSON as docs/schemas.json describes it."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

from .support import needs
from .test_program import run

SCHEMAS = Path(__file__).parents[2] / "docs/schemas.json"


class Schemas(unittest.TestCase):
    def setUp(self) -> None:
        self.schemas = json.loads(SCHEMAS.read_text(encoding="utf-8"))
        self.validator = needs("jsonschema").Draft202012Validator
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def said(self, expected: str, *arguments: str, code: int = 0) -> Any:
        """What a verb prints, after it was held against the schema of this name."""
        ran = run(*arguments, "--json")
        self.assertEqual(ran.returncode, code, ran.stderr)
        value = json.loads(ran.stdout)
        self.assertEqual(value["schema"], expected)
        schema = {"$ref": f"#/$defs/{expected.replace('/', '~1')}", "$defs": self.schemas["$defs"]}
        faults = [f"{'/'.join(map(str, fault.path))}: {fault.message}" for fault in self.validator(schema).iter_errors(value)]
        self.assertEqual(faults, [], expected)
        return value

    def test_the_schemas_are_schemas(self) -> None:
        self.validator.check_schema(self.schemas)

    def test_verbs_print_what_is_described(self) -> None:
        a, b, c, out = (str(self.folder / f"{name}.safetensors") for name in ("a", "b", "c", "out"))
        for seed, path in enumerate((a, b, c)):
            self.said("onebasin.train/1", "train", "mlp:12x2", "--data", "digits", "--epochs", "1", "--seed", str(seed), "-o", path)
        self.said("onebasin.inspect/1", "inspect", a)
        self.said("onebasin.why/1", "inspect", a, "--why", "fc1.weight:0")
        self.said("onebasin.check/1", "check", a)
        self.said("onebasin.symmetry/1", "symmetry", "init", a)
        alignment = str(self.folder / "alignment.safetensors")
        found = self.said("onebasin.match/1", "match", a, b, "-o", alignment)
        self.assertEqual(found["alignment"], alignment)
        self.said("onebasin.apply/1", "apply", alignment, b, "-o", out)
        out = str(self.folder / "merged.safetensors")
        self.said("onebasin.merge/1", "merge", a, b, "-o", out)
        solved = self.said("onebasin.merge/1", "merge", a, b, "-o", out, "--repair", "solve", "--data", "digits", "--overwrite")
        self.assertGreater(solved["solved"]["after"]["outputs"][0]["explained"], 0.5)
        report = self.said("onebasin.report/2", "barrier", a, b, "--data", "digits", "--points", "3", "--method", "weight,activation")
        self.assertEqual([curve["name"] for curve in report["curves"]], ["naive", "weight", "activation"])
        mean = str(self.folder / "mean.safetensors")
        self.said("onebasin.merge-many/1", "merge-many", a, b, c, "-o", mean)
        self.said(
            "onebasin.merge-many/1", "merge-many", a, b, c, "-o", mean, "--data", "digits", "--repair", "solve", "--alignments",
            str(self.folder / "alignments"), "--overwrite"
        )
        self.said("onebasin.experiments/1", "reproduce", "--list")
        self.said("onebasin.report/2", "demo", "--out", str(self.folder / "demo"))

    def test_failures_are_described_too(self) -> None:
        error = self.said("onebasin.error/1", "inspect", "nowhere.safetensors", code=1)
        self.assertIn("nowhere.safetensors", error["error"])
        self.assertEqual(error["kind"], "Io")
        self.assertEqual(self.said("onebasin.error/1", "nonsense", code=2)["kind"], "Usage")
        self.assertEqual(self.said("onebasin.error/1", "merge", "a.safetensors", code=2)["kind"], "Usage")

    def test_a_symmetry_is_begun_from_shapes(self) -> None:
        import numpy as np

        import onebasin

        path = self.folder / "mine.safetensors"
        onebasin.save(path, {"up.weight": np.zeros((16, 8)), "down.weight": np.zeros((3, 16))})
        begun = self.said("onebasin.symmetry/1", "symmetry", "init", str(path), "-o", str(self.folder / "mine.toml"))
        self.assertEqual(begun["open"], 2)
        text = (self.folder / "mine.toml").read_text(encoding="utf-8")
        refused = run("merge", str(path), str(path), "-o", str(self.folder / "x.safetensors"), "--symmetry", str(self.folder / "mine.toml"))
        self.assertIn("still open", refused.stderr)
        (self.folder / "mine.toml").write_text(text.replace("?up", "h"), encoding="utf-8")
        merged = run("merge", str(path), str(path), "-o", str(self.folder / "x.safetensors"), "--symmetry", str(self.folder / "mine.toml"))
        self.assertEqual(merged.returncode, 0, merged.stderr)
