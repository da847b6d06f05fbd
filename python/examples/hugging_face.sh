onebasin inspect llm-a --graph llm.onnx
onebasin match llm-a llm-b --graph llm.onnx -o from-graph.safetensors
onebasin merge llm-a llm-b --graph llm.onnx --align from-graph.safetensors \
  -o merged-by-graph
onebasin merge llm-a llm-b --symmetry llm.symmetry.toml -o merged-by-symmetry
