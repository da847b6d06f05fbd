"""Which label-free judge finds the best alignment: its regret over pairs of networks.

Every pair is aligned by every method. Truth is the accuracy of the midpoint on the test set, averaged (statistics recomputed) and
solved. A judge sees no labels: R² of the average or of the solved network, at the output or over all layers, on data or on inputs
that are made up. Its regret is what the best alignment of the pair gives more than the one it chose.

PAIRS is a file of lines `name A B DATA [options of onebasin]`; # begins a comment. Prints a line for every pair and alignment, and a
table of regrets; everything measured goes to WORK, and is not measured again.
"""
import argparse
import json
import pathlib
import shlex
import subprocess

METHODS = {
    "weight": ["--method", "weight"],
    "spectral": ["--method", "spectral"],
    "auto": ["--method", "auto"],
    "made up": ["--method", "activation"],
    "data": ["--method", "activation", "DATA"],
}
ALONE = ["weight", "spectral", "auto", "made up"]
KINDS = ["output", "mean"]


def run(program, words):
    done = subprocess.run([program, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)}\n{done.stderr}")
    return done.stdout


class Pair:
    def __init__(self, line, args):
        self.name, self.a, self.b, self.data, *self.options = shlex.split(line)
        self.args, self.folder = args, args.work / self.name
        self.folder.mkdir(parents=True, exist_ok=True)

    def words(self, verb, with_data):
        options = list(self.options)
        if not with_data and "--normalize" in options:
            at = options.index("--normalize")
            del options[at : at + 3]
        return [verb, self.a, self.b, *options, *(["--data", self.data] if with_data else [])]

    def barrier(self, *more):
        text = run(self.args.program, [*self.words("barrier", True), "--points", "3", "--samples", str(self.args.samples), "--json", *more])
        return json.loads(text)

    def aligned(self, name):
        path = self.folder / f"{name.replace(' ', '-')}.safetensors"
        if not path.exists():
            words = METHODS[name]
            with_data = "DATA" in words
            more = ["--match-samples", "5000"] if with_data else []
            run(self.args.program, [*self.words("match", with_data), *[w for w in words if w != "DATA"], *more, "--no-diagnosis", "-o", str(path)])
        return path

    def measure(self, name):
        kept = self.folder / f"{name.replace(' ', '-')}.json"
        if kept.exists():
            return json.loads(kept.read_text())
        align = ["--align", str(self.aligned(name))]
        found = {}
        for truth, repair in (("average", []), ("solved", ["--repair", "solve", "--solve-samples", "1200"])):
            found[truth] = at(self.barrier(*align, *repair), 0.5)
        suffix = ".onnx" if self.a.endswith(".onnx") else ".safetensors"
        for on, with_data in (("data", True), ("made up", False)):
            out = self.folder / f"merged{suffix}"
            text = run(self.args.program, [*self.words("merge", with_data), *align, "--repair", "solve", "--json", "-o", str(out)])
            solved = json.loads(text)["solved"]
            for when in ("before", "after"):
                sites, outputs = ([fit["explained"] for fit in solved[when][part]] for part in ("sites", "outputs"))
                found[f"{when}, {on}"] = {"output": min(outputs), "mean": sum(sites) / len(sites)}
            if not with_data:
                words = ["barrier", str(out), str(out), *self.options, "--data", self.data, "--method", "weight", "--points", "2"]
                report = json.loads(run(self.args.program, [*words, "--samples", str(self.args.samples), "--batch-norm-samples", "0", "--json"]))
                found["solved without data"] = at(report, 0.0)
        kept.write_text(json.dumps(found))
        return found


def at(report, share):
    """Accuracy and loss on the test set, of the last curve."""
    curve = report["curves"][-1]
    k = curve["lambda"].index(share)
    return [curve["test"]["accuracy"][k], curve["test"]["loss"][k]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--program", default="onebasin")
    parser.add_argument("--samples", type=int, default=10000)
    args = parser.parse_args()
    lines = [line.split("#")[0].strip() for line in args.pairs.read_text().splitlines()]
    pairs = [Pair(line, args) for line in lines if line]
    regrets = {}
    for pair in pairs:
        found = {name: pair.measure(name) for name in METHODS}
        for name, of in found.items():
            truth = "  ".join(f"{key} {100 * of[key][0]:.2f}" for key in ("average", "solved", "solved without data"))
            judged = "  ".join(f"{key} {of[key]['output']:+.3f} {of[key]['mean']:+.3f}" for key in of if "," in key)
            print(f"{pair.name}: {name}: {truth}; R² at the output, mean: {judged}", flush=True)
        for truth in ("average", "solved", "solved without data"):
            for on, names in (("made up", ALONE), ("data", list(METHODS))):
                if truth == "solved without data" and on == "data":
                    continue
                best = max(found[name][truth][0] for name in names)
                for when in ("before", "after"):
                    for kind in KINDS:
                        chosen = max(names, key=lambda name: found[name][f"{when}, {on}"][kind])
                        regrets.setdefault((truth, on, f"R² {when}, {kind}"), []).append(best - found[chosen][truth][0])
                for name in names:
                    regrets.setdefault((truth, on, f"always {name}"), []).append(best - found[name][truth][0])
    print("\n| judged by | truth | on | mean regret, points | worst |\n|---|---|---|---|---|")
    for (truth, on, judge), of in sorted(regrets.items()):
        print(f"| {judge} | {truth} | {on} | {100 * sum(of) / len(of):.2f} | {100 * max(of):.2f} |")


if __name__ == "__main__":
    main()
