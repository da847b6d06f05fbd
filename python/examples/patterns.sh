onebasin inspect a.safetensors --symmetry net.symmetry.toml
onebasin merge a.safetensors b.safetensors --symmetry net.symmetry.toml \
  -o merged.safetensors
