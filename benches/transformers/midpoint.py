"""Loss of language models in folders, as transformers computes it: ends, and what was merged of them.

    python benches/transformers/midpoint.py TEXT CHARS FOLDER...      # needs torch and transformers

TEXT is a file of characters, of which the last tenth is looked at, in windows that do not overlap; CHARS a JSON file whose `chars`
are the alphabet (a character's token is its place there).
"""

import json, sys
from pathlib import Path

import torch
import transformers

WINDOW = 64


def main():
    text, chars, *folders = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    place = {c: k for k, c in enumerate(json.loads(Path(chars).read_text())["chars"])}
    tokens = torch.tensor([place[c] for c in Path(text).read_text()])
    tokens = tokens[len(tokens) * 9 // 10 :]
    windows = tokens[: len(tokens) // (WINDOW + 1) * (WINDOW + 1)].reshape(-1, WINDOW + 1)
    print("| | loss, nats a token |\n|---|---|")
    for folder in folders:
        model, told = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        wrong = {k: v for k, v in told.items() if v and k != "error_msgs"}
        assert not wrong, f"{folder}: {wrong}"
        model.eval()
        total = 0.0
        with torch.no_grad():
            for batch in windows.split(64):
                logits = model(batch[:, :-1]).logits
                total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum").item()
        print(f"| {Path(folder).name} | {total / windows[:, 1:].numel():.3f} |", flush=True)


if __name__ == "__main__":
    main()
