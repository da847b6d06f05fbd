"""Training steps and inference: onebasin against PyTorch on the CPU, on the same networks and batches in one session.

    python benches/peers/execution.py [--threads 1 2] [--networks mlp resnet20 vgg16]

Both run forward, cross-entropy, backward and momentum SGD on batches in memory, and evaluation; f32, PyTorch with
channels-last convolutions. Each measures for five seconds, onebasin and PyTorch in turn, three times; medians of wall and of
processor time, a Markdown table. Needs PyTorch.
"""

import argparse, json, os, statistics, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = {"mlp": ("mlp:512x3", 500), "resnet20": ("resnet20-ln:1", 100), "vgg16": ("vgg16-ln", 50)}


def build(name):
    import torch
    from torch import nn
    from torch.nn import functional as F

    class ChannelNorm(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def conv(i, o, stride=1):
        pad = nn.ZeroPad2d((0, 1, 0, 1)) if stride == 2 else nn.Identity()
        return nn.Sequential(pad, nn.Conv2d(i, o, 3, stride, 2 - stride, bias=False), ChannelNorm(o, 1e-6))

    class Block(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.one, self.two = conv(i, o, stride), conv(o, o)
            self.short = conv(i, o, 2) if stride == 2 else nn.Identity()

        def forward(self, x):
            return F.relu(self.two(F.relu(self.one(x))) + self.short(x))

    if name == "mlp":
        sizes = [784, 512, 512, 512]
        layers = [m for i, o in zip(sizes, sizes[1:]) for m in (nn.Linear(i, o), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(512, 10))
    if name == "resnet20":
        layers, width = [conv(3, 16), nn.ReLU()], 16
        for stage in range(3):
            for block in range(3):
                out = 16 << stage
                layers.append(Block(width, out, 2 if out != width else 1))
                width = out
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    layers, width = [], 3
    for n in [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]:
        if n == 0:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(width, n, 3, padding=1), ChannelNorm(n, 1e-6), nn.ReLU()]
            width = n
    head = [nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers, nn.Flatten(), *head)


def torch_rates(name, threads):
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    batch = CASES[name][1]
    model = build(name)
    x = torch.rand(batch, *((1, 28, 28) if name == "mlp" else (3, 32, 32)))
    if name != "mlp":
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,))
    sgd = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def step():
        sgd.zero_grad()
        F.cross_entropy(model(x), y).backward()
        sgd.step()

    def infer():
        with torch.inference_mode():
            F.cross_entropy(model(x), y)

    return {"train": rates(step, batch), "inference": rates(infer, batch)}


def rates(run, samples):
    """Images a second of wall time (the median) and of processor time (the mean)."""
    run()
    begin, busy, seconds = time.perf_counter(), time.process_time(), []
    while time.perf_counter() - begin < 5 or len(seconds) < 5:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    cpu = (time.process_time() - busy) / len(seconds)
    return {"wall": samples / statistics.median(seconds), "cpu": samples / cpu}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, os.cpu_count()])
    parser.add_argument("--networks", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--torch", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        print(json.dumps(torch_rates(options.torch[0], int(options.torch[1]))))
        return
    bench = ["cargo", "bench", "--quiet", "-p", "onebasin-nn", "--bench", "execution"]
    subprocess.run([*bench, "--no-run"], check=True, cwd=ROOT)
    head = "| network, batch | threads | | PyTorch: images/s | a CPU-second | onebasin: images/s | a CPU-second "
    print(head + "| ratio, wall | ratio, CPU |\n|---|---|---|---|---|---|---|---|---|")
    for name in options.networks:
        network, batch = CASES[name]
        for threads in options.threads:
            theirs, ours = [], []
            for _ in range(3):
                env = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
                call = [sys.executable, __file__, "--torch", name, str(threads)]
                theirs.append(json.loads(subprocess.run(call, check=True, capture_output=True, env=env).stdout))
                call = [*bench, "--", f"{network}:{batch}"]
                ours.append(json.loads(subprocess.run(call, check=True, capture_output=True, env=env, cwd=ROOT).stdout))
            for what in ("train", "inference"):
                cells, ratios = [], []
                for runs in (theirs, ours):
                    found = [statistics.median(run[what][clock] for run in runs) for clock in ("wall", "cpu")]
                    cells += [f"{rate:.0f}" for rate in found]
                    ratios.append(found)
                cells += [f"**{own / peer:.2f}**" for peer, own in zip(*ratios)]
                print(f"| {network}, {batch} | {threads} | {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
