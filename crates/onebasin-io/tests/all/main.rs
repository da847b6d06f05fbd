//! The crate as its users see it, in one program, since linking costs more than running.

mod formats;
mod found;
mod onnx;
mod outputs;
mod safetensors;
mod streamed;
mod torch;
