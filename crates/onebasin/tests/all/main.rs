//! The library as a whole: its examples, its options, what it refuses, and that pieces of work are apart.

mod apart;
mod examples;
mod options;
mod quantized;
mod trust;
