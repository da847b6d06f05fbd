"""The networks that tools are compared on: small ones of every kind, as their users write or import them in torch."""

import sys
from pathlib import Path

import torch
import torchvision
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

from tests import networks


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def cnn():
    layers, width = [], 3
    for out in (32, 64, 128):
        layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        width = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 128), nn.ReLU(), nn.Linear(128, 10))


def vgg():
    layers, width = [], 3
    for out in (32, 0, 64, 0, 128, 128, 0, 256, 256, 0, 256, 256, 0):
        if out == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
        width = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 10))


def resnet():
    from timm.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10, channels=(32, 64, 128, 256))


def bottleneck():
    from timm.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [2, 2, 2, 2], num_classes=10, channels=(16, 32, 64, 128))


def vit():
    return torchvision.models.VisionTransformer(32, 8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=10)


def convnext():
    from timm.models.convnext import ConvNeXt

    return ConvNeXt(num_classes=10, depths=(1, 1, 2, 1), dims=(16, 32, 64, 128))


IMAGE = torch.zeros(2, 3, 32, 32)
#: A name that says what is special, how the network is made, an example of its inputs.
ALL = {
    "MLP, 3 hidden layers": (mlp, torch.zeros(2, 1, 28, 28)),
    "CNN": (cnn, IMAGE),
    "VGG-11, BatchNorm, half as wide": (vgg, IMAGE),
    "ResNet-18, half as wide (timm)": (resnet, torch.zeros(2, 3, 64, 64)),
    "ResNet, bottlenecks (timm)": (bottleneck, torch.zeros(2, 3, 64, 64)),
    "MobileNetV2 (torchvision)": (lambda: torchvision.models.mobilenet_v2(num_classes=10, width_mult=0.35), torch.zeros(2, 3, 64, 64)),
    "ConvNeXt (timm)": (convnext, torch.zeros(2, 3, 64, 64)),
    "U-Net, GroupNorm": (networks.UNet, networks.UNet.example),
    "ViT (torchvision)": (vit, IMAGE),
    "GPT, tied embedding": (networks.GPT, networks.GPT.example),
    "LSTM, two layers, two ways": (networks.LSTM, networks.LSTM.example),
}


def inputs(example, seed, samples=8):
    """Random inputs of an example's kind."""
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, *example.shape[1:])
    if example.dtype == torch.long:
        return torch.randint(0, 30, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def made(name, seed):
    """A network as training leaves it, as far as permutations can see: no two units alike, and nothing that is all zeros or ones."""
    make, example = ALL[name]
    torch.manual_seed(seed)
    net = make()
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if bool((tensor == tensor.flatten()[0]).all()):
                gain = tensor.ndim == 1 and not name.endswith("bias")
                tensor.copy_(torch.rand_like(tensor) + 0.5 if gain else 0.1 * torch.randn_like(tensor))
        normalising(net, True)
        for step in range(5):
            net(inputs(example, 100 * seed + step))
    return net.eval()


def normalising(net, by_batch):
    """Has BatchNorms, and nothing else, look at the batch, or at what they remember. Whether there are any."""
    found = [part for part in net.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for part in found:
        part.train(by_batch)
    return bool(found)
