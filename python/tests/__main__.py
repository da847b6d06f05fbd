"""Runs all tests; those that are skipped are said by name. ``python -m tests``, with the package on the path."""

import sys
import unittest
from pathlib import Path

folder = Path(__file__).parent
suite = unittest.defaultTestLoader.discover(str(folder), top_level_dir=str(folder.parent))
result = unittest.TextTestRunner(verbosity=1, stream=sys.stdout, warnings="ignore").run(suite)
for test, why in result.skipped:
    print(f"SKIPPED python {test.id().removeprefix('tests.')}: {why}")
failed = len(result.failures) + len(result.errors)
print(f"python: {result.testsRun - failed - len(result.skipped)} passed, {failed} failed, {len(result.skipped)} skipped")
sys.exit(1 if failed or not result.testsRun else 0)
