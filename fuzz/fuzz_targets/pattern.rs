//! The notation of patterns: what is read is printed as what is read again.
#![no_main]

use onebasin_core::symmetry::Pattern;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(pattern) = text.parse::<Pattern>() {
        assert_eq!(pattern.to_string().parse::<Pattern>().as_ref(), Ok(&pattern));
    }
});
