//! Networks that run, as one program of tests.

mod activations;
mod batch_norm;
mod discovery;
mod ends;
mod engine;
mod families;
mod kernels;
mod kinds;
mod memory;
mod networks;
mod onnx;
mod paper;
mod picked;
mod readers;
mod recovery;
mod remembered;
mod samples;
mod solve;
mod tasks;
mod vision;
mod widen;
