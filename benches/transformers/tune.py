"""A language model in a folder, trained on with another text: a fine-tune to carry to another base.

    python benches/transformers/tune.py TEXT CHARS FOLDER OUT [--steps 300]      # needs torch and transformers

TEXT and CHARS as in midpoint.py; characters that are not in the alphabet are left out. Windows of 64 characters of the first nine
tenths, 16 a step, AdamW at 1e-3.
"""

import argparse, json
from pathlib import Path

import torch
import transformers

WINDOW = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("text", "chars", "folder", "out"):
        parser.add_argument(name)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    place = {c: k for k, c in enumerate(json.loads(Path(options.chars).read_text())["chars"])}
    tokens = torch.tensor([place[c] for c in Path(options.text).read_text() if c in place])
    tokens = tokens[: len(tokens) * 9 // 10]
    model = transformers.AutoModelForCausalLM.from_pretrained(options.folder)
    step = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for at in range(options.steps):
        starts = torch.randint(len(tokens) - WINDOW - 1, (16,))
        batch = torch.stack([tokens[s : s + WINDOW + 1] for s in starts])
        for group in step.param_groups:
            group["lr"] = 1e-3 * (1 - at / options.steps)
        logits = model(batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        step.zero_grad()
        loss.backward()
        step.step()
    model.save_pretrained(options.out)
    print(f"{options.out}: {loss.item():.3f}")


if __name__ == "__main__":
    main()
