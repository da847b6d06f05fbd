"""Runs the cases of a folder of scripts and puts what came of each into one table.

    python benches/trust/cases.py CASES_FOLDER PROGRAM > table.md

A script prints `===== CASE` and `-- PART`, the commands (`$ onebasin …`), their exit codes (`rc N`), what they printed and
what ONNX Runtime or PyTorch say of the result (`JUDGE …`). A row of the table is a part: what is expected (EXPECTED; by
default that everything works and every judge's difference is below 1e-4), what was found, and the refusal, if it is one.
Rows that are not as expected are counted and listed on standard error.
"""
import os, re, subprocess, sys, tempfile

SCRIPTS = ["onnx_cases", "more2", "ckpt_cases", "wrappers", "torch_objects", "zip21", "torch_arch", "more_cases", "outputs", "vggbn_planted", "tied_hf", "min_mask_rank", "same_verdict", "multi_act"]
WORKS, REFUSED, EITHER = "works", "refused, with the remedy", "works, or names the remedy"
# Case or case/part, and what it should come to. A tuple is a text that must be among what was printed.
EXPECTED = {
    "different_ops": REFUSED, "external": EITHER, "check_second_output": REFUSED, "vggbn_planted": REFUSED, "extra_b": REFUSED, "vocab": REFUSED, "nan_inf": REFUSED,
    "qdq": EITHER, "if_node": EITHER, "function_op": EITHER, "truncated": REFUSED, "dropout_random": EITHER, "batchnorm_train": EITHER,
    "shape_infer_rest": EITHER, "ids_cast/castf": EITHER, "dynamic_shapes": EITHER, "ema_keys": EITHER, "odd_tensors": EITHER,
    "shards": EITHER, "torch_kinds": EITHER, "npz_kinds": EITHER, "flax_kinds": EITHER, "st_weird": EITHER, "float8": EITHER, "wrappers": EITHER,
    "stale_alignment": EITHER, "in_place": EITHER, "merge_many_mixed": EITHER, "outputs": EITHER, "int_weights": EITHER, "all_zero": EITHER, "identical_bits": EITHER,
    "hidden_as_output": EITHER, "torch_objects": EITHER,
    "weight_norm dynamo": EITHER, "weight_norm_old dynamo": EITHER, "spectral dynamo": EITHER, "vggbn dynamo": EITHER, "bn dynamo": EITHER, "bn_noaffine dynamo": EITHER, "bn_nostats dynamo": EITHER,
}


def parts(script, text):
    """Rows of a script's output: case, lines."""
    case, part, rows = script, "", {}
    for line in text.splitlines():
        if line.startswith("===== "):
            case, part = re.sub(r" torch .*", "", line[6:].strip()), ""
        elif line.startswith("-- "):
            part = line[3:].strip()
        else:
            rows.setdefault((case, part), []).append(line)
    return rows


def judged(lines):
    """Differences that a judge found where none should be."""
    found = []
    for line in lines:
        if "JUDGE" in line and any(word in line for word in ("rel diff", "should be 0", "apply", "merge: f(A)", "f(A) vs f(M)", "JUDGE output")):
            if "merge: f(A)" in line and "planted" not in line:
                continue
            found += [float(n) for n in re.findall(r"(?<![\w.])\d+\.?\d*(?:e-?\d+)?(?![\w.])", line.split("JUDGE", 1)[1]) if float(n) not in (1.0, 2.0)] if "argmax" not in line else []
    return found


def main():
    folder, program = sys.argv[1], os.path.abspath(sys.argv[2])
    out = os.environ.get("CASES_OUT") or tempfile.mkdtemp()
    env = dict(os.environ, ONEBASIN=program, CASES_OUT=out, PYTHONDONTWRITEBYTECODE="1")
    print("| case | expected | found | what was said, or the largest difference a judge saw |\n|---|---|---|---|")
    wrong = total = 0
    for script in SCRIPTS:
        run = subprocess.run([sys.executable, script + ".py"], cwd=folder, env=env, capture_output=True, text=True)
        for (case, part), lines in parts(script, run.stdout).items():
            codes = [int(l.split()[1]) for l in lines if re.match(r"\s+rc -?\d+$", l)]
            errors = [l.split("|", 1)[1].strip() for l in lines if l.strip().startswith("err| error")]
            differences = judged(lines)
            want = EXPECTED.get(f"{case}/{part}") or EXPECTED.get(case) or EXPECTED.get(script) or WORKS
            crashed = any(c not in (0, 1, 2) for c in codes) or any("TIMEOUT" in l for l in lines)
            if crashed:
                found = "CRASHED"
            elif differences and max(differences) > 1e-4:
                found = "WRONG"
            elif not codes:
                found = "; ".join(l.strip() for l in lines)[:160] or "-"
            elif all(c == 0 for c in codes):
                found = "works"
            elif any(c == 0 for c in codes):
                found = "works in part, else refused"
            else:
                found = "refused"
            ok = not crashed and found != "WRONG" and (want == EITHER or not codes or (want == WORKS and found == "works") or (want == REFUSED and found != "works"))
            total += 1
            if not ok:
                wrong += 1
                print(f"not as expected: {script}: {case} {part}: {found} {errors[:1]} {differences}", file=sys.stderr)
            said = errors[0][:170] if errors else (f"{max(differences):.1e}" if differences else "")
            said = said.replace("|", "\\|").replace(out, "")
            print(f"| {case}{' · ' + part if part else ''} | {want} | {found} | {said} |")
    print(f"\n{total} rows, {wrong} not as expected")


main()
