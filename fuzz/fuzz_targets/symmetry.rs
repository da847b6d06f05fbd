//! Symmetry files, and whether they fit a network.
#![no_main]

use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(spec) = SymmetrySpec::from_toml(text) else { return };
    assert_eq!(SymmetrySpec::from_toml(&spec.to_toml()).as_ref(), Ok(&spec));
    let net = onebasin_fuzz::net();
    if let Ok(symmetry) = Symmetry::resolve(&spec, &net) {
        let alignment = Alignment::random(&symmetry, &mut Stream::new(0, "fuzz"));
        let there = alignment.apply(&symmetry, &net).expect("it fits");
        assert_eq!(alignment.inverse(&symmetry).apply(&symmetry, &there).as_ref(), Ok(&net));
    }
});
