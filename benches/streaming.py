"""Streaming merges against cp: makes two sharded bf16 checkpoints in the shapes of a language model, and measures.

    python benches/streaming.py make DIR                # A/, B/ and alignment.safetensors, 8.2 GB each
    python benches/streaming.py measure DIR --runs 5    # needs target/release/onebasin

Every run starts with a cold page cache where /proc/sys/vm/drop_caches may be written, and runs of all commands take
turns. Memory is what the kernel says: the peak of resident pages, and the peak of those that are no file's. Python's
standard library is all that is needed, 30 GB of disk, and nothing else at work on either.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import threading
import time
from pathlib import Path

STREAM, FFN, VOCAB = 4096, 11008, 32000
# Clears one bit of the exponent (and one of the fraction), so that no value is infinite or NaN.
FINITE = bytes(byte & 0xBF for byte in range(256))


def tensors(layers):
    """Names, shapes and patterns, shard by shard."""
    yield 0, "model.embed_tokens.weight", (VOCAB, STREAM), ". stream"
    for layer in range(layers):
        shard = layer * 4 // layers
        block = f"model.layers.{layer}."
        for name in ["q", "k", "v"]:
            yield shard, f"{block}self_attn.{name}_proj.weight", (STREAM, STREAM), ". stream"
        yield shard, f"{block}self_attn.o_proj.weight", (STREAM, STREAM), "stream ."
        for name in ["gate", "up"]:
            yield shard, f"{block}mlp.{name}_proj.weight", (FFN, STREAM), f"ffn{layer} stream"
        yield shard, f"{block}mlp.down_proj.weight", (STREAM, FFN), f"stream ffn{layer}"
        for name in ["input_layernorm", "post_attention_layernorm"]:
            yield shard, f"{block}{name}.weight", (STREAM,), "stream"
    yield 3, "model.norm.weight", (STREAM,), "stream"
    yield 3, "lm_head.weight", (VOCAB, STREAM), ". stream"


def count(shape):
    product = 1
    for n in shape:
        product *= n
    return product


def write_safetensors(path, entries, metadata, fill):
    """`entries`: name, dtype, shape, bytes; `fill` gives the bytes of each in turn."""
    header, offset = {"__metadata__": metadata}, 0
    for name, dtype, shape, size in entries:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, _, _, size in entries:
            for piece in fill(name, size):
                file.write(piece)


def noise(_, size, piece=1 << 24):
    for start in range(0, size, piece):
        yield os.urandom(min(piece, size - start)).translate(FINITE)


def make(folder, layers):
    folder.mkdir(parents=True, exist_ok=True)
    listed = list(tensors(layers))
    for network in ["A", "B"]:
        (folder / network).mkdir(exist_ok=True)
        shards = [f"model-{k + 1:05}-of-00004.safetensors" for k in range(4)]
        for k, name in enumerate(shards):
            entries = sorted((name, "BF16", shape, 2 * count(shape)) for shard, name, shape, _ in listed if shard == k)
            write_safetensors(folder / network / name, entries, {"format": "pt"}, noise)
        total = sum(2 * count(shape) for _, _, shape, _ in listed)
        index = {"metadata": {"total_size": total}, "weight_map": {name: shards[k] for k, name, _, _ in listed}}
        (folder / network / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
        print(f"{folder / network}: {total / 1e9:.2f} GB in {len(shards)} shards")
    spec = "[tensors]\n" + "".join(f'"{name}" = "{pattern}"\n' for _, name, _, pattern in listed)
    groups = {"stream": STREAM} | {f"ffn{layer}": FFN for layer in range(layers)}
    draw = random.Random(0)
    indices = {name: draw.sample(range(size), size) for name, size in groups.items()}
    entries = [(name, "U32", (size,), 4 * size) for name, size in sorted(groups.items())]
    pack = lambda name, _: [struct.pack(f"<{len(indices[name])}I", *indices[name])]
    write_safetensors(folder / "alignment.safetensors", entries, {"onebasin.symmetry": spec}, pack)


def drop_caches():
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        print("the page cache could not be dropped: runs are warm")


def watch(pid, peaks, done):
    """Peaks of resident memory by kind, in kB, looked at every 10 ms."""
    while not done.wait(0.01):
        try:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                key, _, value = line.partition(":")
                if key in ("VmHWM", "RssAnon", "RssFile"):
                    peaks[key] = max(peaks.get(key, 0), int(value.split()[0]))
        except OSError:
            return


def run(command):
    """Wall and processor seconds, and peaks of memory."""
    drop_caches()
    peaks, done = {}, threading.Event()
    before, start = os.times(), time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watcher = threading.Thread(target=watch, args=(child.pid, peaks, done))
    watcher.start()
    assert child.wait() == 0, command
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used, peaks


def measure(folder, runs, program, more):
    a, b, out = folder / "A", folder / "B", folder / f"out-{os.getpid()}"
    sizes = {x: sum(f.stat().st_size for f in x.iterdir()) / 1e9 for x in [a, b]}
    merge = [program, "-q", "merge", a, b, "--align", folder / "alignment.safetensors", "--no-check", "-o", out, *more]
    apply = [program, "-q", "apply", folder / "alignment.safetensors", b, "-o", out, *more]
    shell = lambda line: ["sh", "-c", line]
    files = lambda x: " ".join(str(f) for f in sorted(x.iterdir()))
    written = sizes[a]
    commands = {
        "cp -r A out": (shell(f"cp -r {a} {out}"), 2 * written),
        "cp -r A out; sync": (shell(f"cp -r {a} {out}; sync -f {out}"), 2 * written),
        "cat A B > /dev/null; cp -r A out": (
            shell(f"cat {files(a)} {files(b)} > /dev/null; cp -r {a} {out}"),
            sizes[a] + sizes[b] + written,
        ),
        "onebasin merge": ([str(x) for x in merge], sizes[a] + sizes[b] + written),
        "onebasin apply": ([str(x) for x in apply], sizes[b] + written),
    }
    found = {name: [] for name in commands}
    for _ in range(runs):
        for name, (command, _) in commands.items():
            shutil.rmtree(out, ignore_errors=True)
            found[name].append(run(command))
    shutil.rmtree(out, ignore_errors=True)
    median = lambda values: statistics.median(values)
    cp = median([seconds for seconds, _, _ in found["cp -r A out"]])
    print("| command | s (median) | min–max | CPU s | GB moved | GB/s | time / cp | VmHWM MB | RssAnon MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (_, moved) in commands.items():
        times = [seconds for seconds, _, _ in found[name]]
        used = median([used for _, used, _ in found[name]])
        peak = lambda key: max(peaks.get(key, 0) for _, _, peaks in found[name]) * 1024 / 1e6
        print(
            f"| `{name}` | {median(times):.2f} | {min(times):.2f}–{max(times):.2f} | {used:.1f} | {moved:.1f} "
            f"| {moved / median(times):.2f} | {median(times) / cp:.2f} | {peak('VmHWM'):.0f} | {peak('RssAnon'):.0f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("make")
    verb.add_argument("folder", type=Path)
    verb.add_argument("--layers", type=int, default=19, help="405 MB each")
    verb = verbs.add_parser("measure")
    verb.add_argument("folder", type=Path)
    verb.add_argument("--runs", type=int, default=5)
    verb.add_argument("--program", default="target/release/onebasin")
    verb.add_argument("more", nargs="*", help="further options of merge and apply, after --")
    args = parser.parse_args()
    if args.verb == "make":
        make(args.folder, args.layers)
    else:
        measure(args.folder, args.runs, args.program, args.more)


main()
