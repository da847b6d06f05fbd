//! Every operator's kernel: gradients against finite differences, results against index-by-index twins and ONNX Runtime.

mod gradients;
mod onnxruntime;
mod support;
mod twins;
