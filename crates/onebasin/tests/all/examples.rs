//! Every program in `examples/` runs.

#[path = "../../examples/activations_on_own_data.rs"]
mod activations_on_own_data;
#[path = "../../examples/many_networks.rs"]
mod many_networks;
#[path = "../../examples/merge_two_files.rs"]
mod merge_two_files;
#[path = "../../examples/own_graph.rs"]
mod own_graph;
#[path = "../../examples/own_similarity.rs"]
mod own_similarity;

#[test]
fn two_files_become_one() {
    merge_two_files::main().unwrap();
}

#[test]
fn a_graph_of_ones_own() {
    own_graph::main().unwrap();
}

#[test]
fn a_similarity_of_ones_own() {
    own_similarity::main().unwrap();
}

#[test]
fn activations_on_ones_own_data() {
    activations_on_own_data::main().unwrap();
}

#[test]
fn five_networks_become_one() {
    many_networks::main().unwrap();
}
