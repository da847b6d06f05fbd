//! A GPU computes what the processor does; where there is none, the error says what is missing.
//!
//! Without a GPU the same tests run in a second process, with a driver, compiler and cuBLAS that work on the processor
//! (`tests/fake/cuda.cpp`).

use std::path::Path;
use std::process::{Command, Output};

use onebasin_core::matching::{Source, Weights};
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Tensor};
use onebasin_cuda::{Device, Error, Precision};

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
fn a_number_beyond_the_last_gpu_is_refused() {
    let Some(_) = device_or_skip("a_number_beyond_the_last_gpu_is_refused") else { return };
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

#[test]
fn sums_of_rows_on_the_gpu_are_those_of_the_processor() {
    let Some(device) = device_or_skip("sums_of_rows_on_the_gpu_are_those_of_the_processor") else { return };
    checks::sums_of_rows_are_those_of_the_processor(&device);
}

#[test]
fn solves_on_the_gpu_are_those_of_the_processor() {
    let Some(device) = device_or_skip("solves_on_the_gpu_are_those_of_the_processor") else { return };
    checks::solves_are_those_of_the_processor(&device);
}

#[test]
fn threads_share_a_device_on_the_gpu() {
    let Some(device) = device_or_skip("threads_share_a_device_on_the_gpu") else { return };
    checks::threads_share_a_device(&device);
}

#[test]
fn outputs_on_the_gpu_are_those_of_the_processor() {
    let Some(device) = device_or_skip("outputs_on_the_gpu_are_those_of_the_processor") else { return };
    checks::outputs_are_those_of_the_processor(&device);
}

#[test]
fn other_operators_are_refused_on_the_gpu() {
    let Some(device) = device_or_skip("other_operators_are_refused_on_the_gpu") else { return };
    checks::other_operators_are_refused(&device);
}

#[test]
fn steps_on_the_gpu_are_those_of_the_processor() {
    let Some(device) = device_or_skip("steps_on_the_gpu_are_those_of_the_processor") else { return };
    checks::training::steps_are_those_of_the_processor(&device);
}

#[test]
fn gradients_on_the_gpu_are_those_of_the_processor() {
    let Some(device) = device_or_skip("gradients_on_the_gpu_are_those_of_the_processor") else { return };
    checks::training::gradients_are_those_of_the_processor(&device);
}

#[test]
fn gradients_on_the_gpu_are_near_exact_ones() {
    let Some(device) = device_or_skip("gradients_on_the_gpu_are_near_exact_ones") else { return };
    checks::training::gradients_are_near_exact_ones(&device);
}

#[test]
fn training_on_the_gpu_goes_on() {
    let Some(device) = device_or_skip("training_on_the_gpu_goes_on") else { return };
    checks::training::training_goes_on(&device);
}

#[test]
fn steps_in_bf16_on_the_gpu_are_near() {
    let Some(device) = device_or_skip("steps_in_bf16_on_the_gpu_are_near") else { return };
    checks::training::steps_in_bf16_are_near(&device, &device.clone().training_in(Precision::Bf16));
}

#[test]
#[ignore = "the driver must have little memory; `cuda_is_called_as_its_manual_says` runs it so"]
fn memory_that_runs_out_is_an_error() {
    let net: Params =
        [("w".to_owned(), Tensor::from_f32(&[64, 64], vec![1.0; 64 * 64]).unwrap())].into_iter().collect();
    let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h .")]).unwrap(), &net).unwrap();
    let source = Weights::new(&symmetry, &net, &net).unwrap().on(&Device::open(0).unwrap());
    let said = source.grams(symmetry.roots()[0], &Alignment::identity(&symmetry)).unwrap_err().to_string();
    assert!(said.starts_with("the GPU has no room for") && said.ends_with("use --device cpu"), "{said}");
}

/// Runs tests of this file with the driver in this folder.
fn with_driver(folder: &Path, tests: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(tests).arg("--nocapture").env("LD_LIBRARY_PATH", folder);
    command.envs(environment.iter().copied()).output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn cuda_is_called_as_its_manual_says() {
    let folder = tempfile::tempdir().unwrap();
    if !onebasin_testkit::cuda_stand_in_or_skip("cuda_is_called_as_its_manual_says", folder.path()) {
        return;
    }
    let passes = |tests: &[&str], environment: &[(&str, &str)], count: usize| {
        let output = with_driver(folder.path(), tests, environment);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains(&format!("{count} passed")), "{said}");
        assert!(!said.contains("SKIPPED"), "{said}");
    };
    passes(&["_gpu"], &[], 15);
    let little = ("ONEBASIN_FAKE_MEMORY", "4000");
    passes(&["memory_that_runs_out_is_an_error", "--ignored"], &[little], 1);
    passes(&["a_device_that_cannot_be_opened_says_why"], &[("ONEBASIN_FAKE_GPUS", "0")], 1);
    std::fs::remove_file(folder.path().join("libcublas.so")).unwrap();
    passes(&["a_device_that_cannot_be_opened_says_why"], &[], 1);
}
