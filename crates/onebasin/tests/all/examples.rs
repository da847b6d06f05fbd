//! Every program in `examples/` runs.

/// A program as a module of its own, and a test that runs it.
macro_rules! programs {
    ($($name:ident at $path:literal),*) => {$(
        #[allow(unreachable_pub, reason = "it is a program, too")]
        #[path = $path]
        mod $name;
    )*

        $(
            #[test]
            fn $name() {
                $name::main().unwrap();
            }
        )*
    };
}

programs!(
    activations_on_own_data at "../../examples/activations_on_own_data.rs",
    many_networks at "../../examples/many_networks.rs",
    merge_two_files at "../../examples/merge_two_files.rs",
    own_graph at "../../examples/own_graph.rs",
    own_similarity at "../../examples/own_similarity.rs"
);
