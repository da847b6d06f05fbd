//! Networks that run, as one program of tests.

mod activations;
mod batch_norm;
mod discovery;
mod ends;
mod engine;
mod kernels;
mod networks;
mod paper;
mod recovery;
mod samples;
mod tasks;
mod vision;
