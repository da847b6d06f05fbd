"""What the binding costs: `merge` of two files by the program and by a call, processor-seconds of whole processes.

    python overhead.py A B [OPTIONS OF THE PROGRAM]
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


def seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


a, b = sys.argv[1:3]
with tempfile.TemporaryDirectory() as folder:
    output = str(Path(folder) / "m.safetensors")
    call = f"import onebasin; onebasin.merge({a!r}, {b!r}, output={output!r}, overwrite=True)"
    program = [os.environ.get("ONEBASIN", "onebasin"), "merge", a, b, "-o", output, "--overwrite"]
    for name, command in (("program", program), ("call", [sys.executable, "-W", "ignore", "-c", call])):
        found = sorted(seconds(command) for _ in range(5))
        print(f"{name}: {found[2]:.2f} ({found[0]:.2f} to {found[-1]:.2f}) processor-seconds")
