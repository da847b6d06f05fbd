"""JPEGs of every kind, and what Pillow makes of them and of other sizes, for `tests/photographs.rs`.

    pip install numpy "pillow<13" safetensors && python photographs.py

Writes `photographs/*` and `photographs.safetensors` beside itself: of every JPEG each seventh row and column of what an
evaluation sees (shorter side 256, the centre of 224 × 224, `[3, 32, 32]`), and `resized/*`, images with their results.
Pillow 13 resamples columns first where that is less work, and then rounds some bytes the other way.
"""

import pathlib

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
RNG = np.random.default_rng(8)


def picture(height, width, channels):
    """Slopes and waves with an edge."""
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    waves = [128 + 90 * np.sin(6 * x * (c + 1) + 4 * y + c) * np.cos(5 * y - 2 * c * x) for c in range(channels)]
    out = np.stack(waves, axis=-1)
    out[height // 3 : height // 2, width // 4 : width // 2] += 35
    return np.clip(out, 0, 255).astype(np.uint8)


def seen(path):
    """As torchvision: Resize(256), CenterCrop(224)."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    to = (256, int(256 * long / short)) if width <= height else (int(256 * long / short), 256)
    image = image.resize(to, Image.Resampling.BILINEAR)
    left, top = (int(round((side - 224) / 2.0)) for side in to)
    cut = np.asarray(image.crop((left, top, left + 224, top + 224)))
    return np.ascontiguousarray(cut.transpose(2, 0, 1)[:, ::7, ::7])


folder = HERE / "photographs"
folder.mkdir(exist_ok=True)
save = lambda name, array, mode, **how: Image.fromarray(array, mode).save(folder / name, "jpeg", quality=88, **how)
save("halved.JPEG", picture(261, 340, 3), "RGB", subsampling=2)
save("progressive.jpg", picture(400, 300, 3), "RGB", subsampling=0, progressive=True)
save("wide.jpeg", picture(150, 401, 3), "RGB", subsampling=1)
save("small.jpeg", picture(60, 90, 3), "RGB", subsampling=0)
save("narrow.jpeg", picture(610, 67, 3), "RGB", subsampling=2)
save("grey.Jpg", picture(300, 280, 3)[..., 0], "L")
save("cmyk.jpeg", picture(280, 290, 4), "CMYK")
# Adobe's marker says in its last byte that the first three of the four components are luminance and chrominances.
bytes_ = (folder / "cmyk.jpeg").read_bytes()
at = bytes_.index(b"Adobe") + 11
assert bytes_[at] == 0
(folder / "ycck.jpeg").write_bytes(bytes_[:at] + b"\x02" + bytes_[at + 1 :])
tensors = {path.name: seen(path) for path in sorted(folder.iterdir())}

for height, width, to in [(28, 28, (32, 32)), (23, 37, (40, 11)), (37, 23, (5, 60)), (50, 50, (1, 1)), (5, 3, (5, 3)), (1, 1, (3, 2))]:
    image = RNG.integers(0, 256, (height, width), dtype=np.uint8)
    result = np.asarray(Image.fromarray(image).resize(to[::-1], Image.Resampling.BILINEAR))
    name = f"resized/{height}x{width}-{to[0]}x{to[1]}"
    tensors |= {f"{name}/from": image, f"{name}/to": np.ascontiguousarray(result)}
save_file(tensors, HERE / "photographs.safetensors")
