//! Every program in `examples/` runs.

/// A program as a module of its own, and a test that runs it.
macro_rules! program {
    ($name:ident) => {
        mod $name {
            include!(concat!("../../examples/", stringify!($name), ".rs"));

            #[test]
            fn runs() {
                main().unwrap();
            }
        }
    };
}

program!(activations_on_own_data);
program!(many_networks);
program!(merge_two_files);
program!(own_graph);
program!(own_similarity);
