"""python exported.py: a small network as torch saves it, and as its default exporter writes its graph.

The exporter renames weights, exchanges their axes, puts gates into another order and computes what it can; names of a
few tensors are all that is left. Written with torch 2.15.
"""

import pathlib

import onnx
import torch
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.register_buffer("table", torch.sin(torch.arange(32.0)).view(1, 4, 8), persistent=False)
        self.rnn = nn.LSTM(8, 5, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(10)
        self.up = nn.Linear(10, 12)
        self.fc = nn.Linear(12, 3)

    def forward(self, x):
        h = self.rnn(torch.relu(self.a(x)) + self.table)[0]
        return self.fc(torch.relu(self.up(self.norm(h)))).mean(1)


torch.manual_seed(0)
net = Net().eval()
save_file({k: v.clone() for k, v in net.state_dict().items()}, HERE / "exported.safetensors")
torch.onnx.export(net, (torch.randn(1, 4, 6),), HERE / "exported.onnx", dynamo=True, external_data=False)

# The paths of the machine that it was exported on are not part of the file.
model = onnx.load(HERE / "exported.onnx")
for node in model.graph.node:
    kept = [p for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
    del node.metadata_props[:]
    node.metadata_props.extend(kept)
onnx.save(model, HERE / "exported.onnx")
