//! The library as a whole: its examples, its options, what it refuses, exported graphs, and that pieces of work are apart.

mod apart;
mod examples;
mod exported;
mod honest;
mod options;
mod quantized;
mod trust;
mod width;
