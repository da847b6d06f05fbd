"""What the demo left behind, from Python: two networks matched and merged."""

# ANCHOR: lines
import onebasin

a, b = "onebasin-demo/a.safetensors", "onebasin-demo/b.safetensors"
found = onebasin.match(a, b)
print(onebasin.diagnose(a, b, found))
onebasin.merge(a, b, found, output="merged.safetensors")
# ANCHOR_END: lines

assert len(onebasin.load("merged.safetensors")) == 8
