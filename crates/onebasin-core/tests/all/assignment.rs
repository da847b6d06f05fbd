//! Law 5: exact assignment.

use onebasin_core::assignment::{Duals, Similarity, assign, assign_dense, certificate};
use onebasin_core::stream::Stream;
use onebasin_testkit::{assert_close, best_assignment_value};
use proptest::prelude::*;

/// Matrices of the kinds that matching meets: random, tied, low-rank, with dead units.
fn matrix(kind: usize, n: usize, seed: u64) -> Vec<f64> {
    let mut s = Stream::new(seed, "matrix");
    match kind % 7 {
        3 => {
            let dead: Vec<[bool; 2]> = (0..n).map(|_| [s.uniform() < 0.4, s.uniform() < 0.4]).collect();
            (0..n * n).map(|k| if dead[k / n][0] || dead[k % n][1] { 0.0 } else { s.normal() }).collect()
        }
        4 => {
            let dead: Vec<bool> = (0..n).map(|_| s.uniform() < 0.5).collect();
            (0..n * n).map(|k| if dead[k / n] { 0.5 } else { s.normal() }).collect()
        }
        5 => {
            let worth: Vec<f64> = (0..n).map(|_| s.normal()).collect();
            (0..n * n).map(|k| if worth[k % n] > 0.0 { worth[k % n] } else { s.normal() }).collect()
        }
        6 => (0..n * n).map(|k| (k % n) as f64).collect(),
        0 => (0..n * n).map(|_| s.normal()).collect(),
        1 => (0..n * n).map(|_| s.below(3) as f64).collect(),
        2 => {
            let (u, v): (Vec<f64>, Vec<f64>) = (0..n).map(|_| (s.normal(), s.normal())).unzip();
            (0..n * n).map(|k| u[k / n] * v[k % n]).collect()
        }
        _ => unreachable!(),
    }
}

proptest! {
    #[test]
    fn equals_brute_force(kind in 0_usize..7, n in 0_usize..8, seed: u64) {
        let data = matrix(kind, n, seed);
        let found = assign(&Similarity::new(n, data.clone()).unwrap(), None).unwrap();
        let scale = data.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert_close(found.value, best_assignment_value(n, &data), 8.0 * (n + 1) as f64, scale);
    }

    #[test]
    fn certificate_proves_it_at_any_size(kind in 0_usize..7, n in 0_usize..80, seed: u64, scale in -30_i32..30) {
        let data: Vec<f64> = matrix(kind, n, seed).iter().map(|v| v * 10_f64.powi(scale)).collect();
        let s = Similarity::new(n, data).unwrap();
        let found = assign(&s, None).unwrap();
        prop_assert!(certificate(&s, &found).proves_optimal());
    }

    #[test]
    fn any_warm_start_gives_the_same_value(n in 1_usize..40, seed: u64) {
        let s = Similarity::new(n, matrix(0, n, seed)).unwrap();
        let cold = assign(&s, None).unwrap();
        let mut stream = Stream::new(seed, "warm");
        let noise = Duals { row: vec![], col: (0..n).map(|_| 10.0 * stream.normal()).collect() };
        for warm in [&noise, &cold.duals] {
            let again = assign(&s, Some(warm)).unwrap();
            prop_assert!(certificate(&s, &again).proves_optimal());
            assert_close(again.value, cold.value, 64.0 * n as f64, 10.0);
        }
    }
}

/// Sizes at which lists are used, and matrices that use them up: all tied, few ties, low rank, dead units on both sides.
#[test]
fn lists_find_what_whole_rows_do() {
    for kind in 0..7 {
        for n in [192, 193, 255, 256, 320, 500] {
            let s = Similarity::new(n, matrix(kind, n, n as u64)).unwrap();
            let (found, twin) = (assign(&s, None).unwrap(), assign_dense(&s, None).unwrap());
            assert!(certificate(&s, &found).proves_optimal(), "{kind} {n}: {:?}", certificate(&s, &found));
            assert_close(found.value, twin.value, 64.0 * n as f64, s.scale());
        }
    }
}

/// Up to 8192 units, cold and from the prices of a problem that differs a little:
/// `cargo test -p onebasin-core --release --test all assignment -- --ignored`.
#[test]
#[ignore = "minutes, and gigabytes at 8192 units"]
fn every_size_is_proved() {
    for n in [512, 1024, 2048, 4096, 8192] {
        for kind in 0..7 {
            let mut data = matrix(kind, n, n as u64);
            let s = Similarity::new(n, data.clone()).unwrap();
            let cold = assign(&s, None).unwrap();
            assert!(certificate(&s, &cold).proves_optimal(), "{kind} {n}: {:?}", certificate(&s, &cold));
            let mut stream = Stream::new(n as u64, "changes");
            let (u, v): (Vec<f64>, Vec<f64>) = (0..n).map(|_| (stream.normal(), stream.normal())).unzip();
            data.iter_mut().enumerate().for_each(|(k, s)| *s += 0.01 * u[k / n] * v[k % n]);
            let s = Similarity::new(n, data).unwrap();
            let warm = assign(&s, Some(&cold.duals)).unwrap();
            assert!(certificate(&s, &warm).proves_optimal(), "{kind} {n}, warm: {:?}", certificate(&s, &warm));
        }
    }
}

#[test]
fn lists_start_from_any_prices() {
    for kind in 0..7 {
        let n = 300;
        let s = Similarity::new(n, matrix(kind, n, 7)).unwrap();
        let cold = assign(&s, None).unwrap();
        let mut stream = Stream::new(kind as u64, "warm");
        let noise = Duals { row: vec![], col: (0..n).map(|_| 3.0 * stream.normal()).collect() };
        for warm in [&noise, &cold.duals] {
            let again = assign(&s, Some(warm)).unwrap();
            assert!(certificate(&s, &again).proves_optimal(), "{kind}");
            assert_close(again.value, cold.value, 64.0 * n as f64, s.scale());
        }
    }
}

#[test]
fn offsets_and_scales_do_not_keep_lists_from_the_proof() {
    for (offset, scale) in [(1e6, 1e-3), (-1e9, 1.0), (0.0, 1e-200), (0.0, 1e200), (1e15, 1e-2)] {
        for kind in 0..7 {
            let data = matrix(kind, 256, 3).iter().map(|v| offset + scale * v).collect();
            let s = Similarity::new(256, data).unwrap();
            let found = assign(&s, None).unwrap();
            assert!(certificate(&s, &found).proves_optimal(), "{kind}: {:?}", certificate(&s, &found));
        }
    }
}

#[test]
fn a_constant_matrix_gives_the_identity() {
    for n in [0, 1, 2, 17, 100, 300] {
        for value in [0.0, -3.5, 1e300] {
            let found = assign(&Similarity::new(n, vec![value; n * n]).unwrap(), None).unwrap();
            assert!(found.perm.is_identity());
        }
    }
}

#[test]
fn a_wrong_assignment_or_wrong_prices_are_not_proved() {
    let s = Similarity::new(3, vec![5., 1., 0., 1., 5., 0., 0., 0., 5.]).unwrap();
    let mut found = assign(&s, None).unwrap();
    found.duals.col[1] += 1.0;
    assert!(!certificate(&s, &found).proves_optimal());
    let mut found = assign(&s, None).unwrap();
    found.perm = onebasin_core::Perm::new(vec![1, 0, 2]).unwrap();
    assert!(!certificate(&s, &found).proves_optimal());
}

#[test]
fn bad_matrices_are_named() {
    let error = Similarity::new(2, vec![0., 0., f64::NAN, 0.]).unwrap_err().to_string();
    assert!(error.contains("row 1, column 0"), "{error}");
    assert!(Similarity::new(2, vec![0.; 3]).unwrap_err().to_string().contains("found 3"));
    let s = Similarity::new(2, vec![0.; 4]).unwrap();
    assert!(
        assign(&s, Some(&Duals { row: vec![], col: vec![0.] })).unwrap_err().to_string().contains("1 column prices")
    );
}

/// One case of `goldens/assignment.json`; the matrix is drawn here as in the script that made the file.
#[derive(serde::Deserialize)]
struct Golden {
    kind: String,
    n: usize,
    seed: u64,
    value: f64,
    perm: Option<Vec<u32>>,
}

impl Golden {
    fn matrix(&self) -> Vec<f64> {
        let mut state = self.seed;
        let mut bits = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        let uniform = |bits: u64| (bits >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
        let n = self.n;
        match self.kind.as_str() {
            "random" => (0..n * n).map(|_| uniform(bits())).collect(),
            "tied" => (0..n * n).map(|_| (bits() % 4) as f64).collect(),
            "low-rank" => {
                let u: Vec<f64> = (0..3 * n).map(|_| uniform(bits())).collect();
                let v: Vec<f64> = (0..3 * n).map(|_| uniform(bits())).collect();
                let entry = |k: usize| (0..3).map(|r| u[3 * (k / n) + r] * v[3 * (k % n) + r]).sum();
                (0..n * n).map(entry).collect()
            }
            "dead" => {
                let rows: Vec<bool> = (0..n).map(|_| bits() % 3 == 0).collect();
                let cols: Vec<bool> = (0..n).map(|_| bits() % 3 == 0).collect();
                (0..n * n).map(|k| if rows[k / n] || cols[k % n] { 0.0 } else { uniform(bits()) }).collect()
            }
            "constant" => vec![7.25; n * n],
            other => panic!("unknown kind {other}"),
        }
    }
}

#[test]
fn agrees_with_scipy() {
    #[derive(serde::Deserialize)]
    struct File {
        cases: Vec<Golden>,
    }
    let file: File = serde_json::from_str(include_str!("../goldens/assignment.json")).unwrap();
    assert_eq!(file.cases.len(), 35);
    for case in &file.cases {
        let s = Similarity::new(case.n, case.matrix()).unwrap();
        let found = assign(&s, None).unwrap();
        assert!(certificate(&s, &found).proves_optimal(), "{} {}", case.kind, case.n);
        assert_close(found.value, case.value, 4.0 * case.n as f64, case.n as f64 * s.scale());
        if let Some(perm) = &case.perm {
            assert_eq!(found.perm.as_slice(), perm, "{} {}", case.kind, case.n);
        }
    }
}
