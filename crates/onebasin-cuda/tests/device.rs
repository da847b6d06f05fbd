//! A real GPU computes what the processor does; where there is none, the error says what is missing.

use onebasin_cuda::{Device, Error};

mod checks;

/// The first GPU; says that the test is skipped where there is none. One that cannot be opened fails the test.
#[allow(clippy::print_stdout, reason = "the test task collects this line")]
fn device_or_skip(test: &str) -> Option<Device> {
    match Device::open(0) {
        Ok(device) => Some(device),
        Err(why @ (Error::NoLibrary { .. } | Error::NoDevice { .. })) => {
            println!("SKIPPED {test}: {why}");
            None
        }
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn a_device_that_cannot_be_opened_says_why() {
    let Err(why) = Device::open(0) else { return };
    let said = why.to_string();
    match &why {
        Error::NoLibrary { library, .. } => assert!(said.contains(library) && said.contains("was not found"), "{said}"),
        Error::NoDevice { why } => assert!(said.contains(why.as_str()), "{said}"),
        other => panic!("{other}"),
    }
    assert!(said.starts_with("no NVIDIA GPU can be used") && said.ends_with("use --device cpu"), "{said}");
}

#[test]
fn a_number_that_no_gpu_has_is_refused() {
    let Some(_) = device_or_skip("a_number_that_no_gpu_has_is_refused") else { return };
    assert!(matches!(Device::open(1000), Err(Error::NoSuchDevice { ordinal: 1000, .. })));
}

#[test]
fn grams_on_the_gpu_are_those_of_the_processor() {
    let Some(device) = device_or_skip("grams_on_the_gpu_are_those_of_the_processor") else { return };
    checks::grams_are_those_of_the_processor(&device);
}

#[test]
fn wide_grams_on_the_gpu_are_those_of_the_processor() {
    let Some(device) = device_or_skip("wide_grams_on_the_gpu_are_those_of_the_processor") else { return };
    checks::wide_grams_are_those_of_the_processor(&device);
}

#[test]
fn kept_grams_are_brought_up_to_date_on_the_gpu() {
    let Some(device) = device_or_skip("kept_grams_are_brought_up_to_date_on_the_gpu") else { return };
    checks::kept_grams_are_brought_up_to_date(&device);
}

#[test]
fn ascents_on_the_gpu_end_where_those_of_the_processor_do() {
    let Some(device) = device_or_skip("ascents_on_the_gpu_end_where_those_of_the_processor_do") else { return };
    checks::ascents_end_where_those_of_the_processor_do(&device);
}
