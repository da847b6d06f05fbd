"""What onebasin makes of ONNX files, judged by ONNX Runtime: one line of a table a file.

    ONEBASIN=target/release/onebasin python benches/networks/evaluate.py [--expected COUNTS.json] [--shape FILE:INPUT=1x3x64x64] FILES

imports    `inspect` reads it, and knows every operator
free       units that may move, counted as sites of a random alignment, and how many were counted by hand (COUNTS.json: file or
           architecture to number)
check      `check` passes, and the largest relative difference that it saw
moved      relative difference of ONNX Runtime's outputs after a random element of the symmetry: below 1e-4, or it is wrong
recovered  `match` of the network with its moved copy, and `apply`, give back the bits of every tensor
seconds    processor time of inspect, check and match

Needs NumPy, onnx, onnxruntime and safetensors.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from safetensors import safe_open
from safetensors.numpy import save_file

PROGRAM = os.environ.get("ONEBASIN", "onebasin")
LARGE = 300_000  # weights from which one ascent is asked for, not the whole portfolio
KINDS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


class Failed(Exception):
    pass


def run(*arguments, shapes=(), seconds=600):
    given = [text for shape in shapes for text in ("--input-shape", shape)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run([PROGRAM, *map(str, arguments), *given, "--threads", "1"], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"longer than {seconds} s") from late
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error")] or done.stderr.splitlines() or ["no word"]
        raise Failed(errors[0].replace("|", "/"))
    return done.stdout, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def tensors(path):
    model = onnx.load(path)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = numpy_helper.to_array(attribute.t)
    return found


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feeds(model, shapes):
    given = dict(shape.split("=") for shape in shapes)
    stream, found = np.random.default_rng(1), {}
    for field in model.get_inputs():
        shape = [length if isinstance(length, int) else 1 for length in field.shape]
        if field.name in given:
            shape = [int(length) for length in given[field.name].split("x")]
        if field.type in KINDS:
            found[field.name] = (0.5 + 0.5 * stream.standard_normal(shape)).astype(KINDS[field.type])
        elif field.type == "tensor(bool)":
            found[field.name] = np.ones(shape, bool)
        else:
            kind = field.type.removeprefix("tensor(").removesuffix(")")
            found[field.name] = stream.integers(0, 255 if kind == "uint8" else 2, shape).astype(kind)
    return found


def moved(a, b, shapes):
    """Largest difference of two models' outputs, in units of the largest output."""
    a, b = session(a), session(b)
    inputs, worst = feeds(a, shapes), 0.0
    for x, y in zip(a.run(None, inputs), b.run(None, inputs)):
        if x.dtype.kind != "f":
            worst = max(worst, float((x != y).mean()))
            continue
        finite = np.isfinite(x)
        if not np.array_equal(finite, np.isfinite(y)):
            return float("inf")
        scale = np.abs(x[finite]).max(initial=0.0) or 1.0
        worst = max(worst, float(np.abs(x[finite].astype(np.float64) - y[finite]).max(initial=0.0) / scale))
    return worst


def plant(template, target):
    """A random alignment in the shape of another; gives how many units it has."""
    with safe_open(template, "np") as file:
        header, groups = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    stream, units = np.random.default_rng(7), 0
    for name, group in groups.items():
        rows = group.reshape(-1, group.shape[-1])
        groups[name] = np.stack([stream.permutation(group.shape[-1]) for _ in rows]).reshape(group.shape).astype(np.uint32)
        units += group.size
    save_file(groups, target, header)
    return units


def evaluate(path, folder, shapes):
    row, at = {}, lambda name: str(folder / name)
    _, inspected = run("inspect", path, shapes=shapes)
    row["imports"], row["seconds"] = "yes", inspected
    try:
        checked, seconds = run("check", path, "--json", shapes=shapes)
        checked = json.loads(checked)
        row["check"] = f"{'passes' if checked['passes'] else 'FAILS'} {checked['difference']:.0e}"
        row["seconds"] += seconds
    except Failed as why:
        row["check"] = str(why)
    try:
        run("match", path, path, "-o", at("self.safetensors"), "--method", "greedy", "--no-diagnosis", shapes=shapes)
        row["free"] = plant(at("self.safetensors"), at("planted.safetensors"))
        if row["free"] == 0:
            return row
        run("apply", at("planted.safetensors"), path, "-o", at("moved.onnx"), shapes=shapes)
        try:
            row["moved"] = f"{moved(path, at('moved.onnx'), shapes):.0e}"
        except Exception as why:  # ONNX Runtime has no errors of its own class for models that it cannot run
            row["moved"] = "not run by ONNX Runtime"
            print(f"{path}: {why}", file=sys.stderr)
        original = tensors(path)
        small = sum(tensor.size for tensor in original.values()) < LARGE
        fast = [] if small else ["--method", "weight", "--start", "signature", "--restarts", "1", "--no-diagnosis"]
        _, seconds = run("match", path, at("moved.onnx"), "-o", at("found.safetensors"), *fast, shapes=shapes)
        row["seconds"] += seconds
        run("apply", at("found.safetensors"), at("moved.onnx"), "-o", at("back.onnx"), shapes=shapes)
        back = tensors(at("back.onnx"))
        same = sum(np.array_equal(tensor, back.get(name), equal_nan=tensor.dtype.kind == "f") for name, tensor in original.items())
        row["recovered"] = f"{same} of {len(original)}"
    except Failed as why:
        row["recovered"] = str(why)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--expected", type=pathlib.Path)
    parser.add_argument("--shape", action="append", default=[], metavar="FILE:INPUT=1x3x64x64")
    asked = parser.parse_args()
    expected = json.loads(asked.expected.read_text()) if asked.expected else {}
    onnxruntime.set_default_logger_severity(4)
    columns = ["imports", "free", "check", "moved", "recovered", "seconds"]
    print("| file | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for path in asked.files:
        shapes = [text for file, _, text in (shape.partition(":") for shape in asked.shape) if file == path.name]
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = evaluate(path, pathlib.Path(folder), shapes)
            except Failed as why:
                row = {"imports": f"NO: {why}"}
        counted = expected.get(path.name) or expected.get(path.name.split(".")[0])
        if counted is not None and "free" in row:
            row["free"] = f"{row['free']} of {counted}"
        if "seconds" in row:
            row["seconds"] = f"{row['seconds']:.1f}"
        print(f"| {path.stem} | " + " | ".join(str(row.get(column, "")) for column in columns) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
