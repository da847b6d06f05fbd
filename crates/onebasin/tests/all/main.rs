//! The library as a whole: its examples, its options, what it refuses, exported graphs, and that pieces of work are apart.

mod apart;
mod beside;
mod configured;
mod examples;
mod experts;
mod exported;
mod folders;
mod honest;
mod made_up;
mod merge_file;
mod options;
mod overview;
mod quantized;
mod solve;
mod tokens;
mod trust;
mod width;
