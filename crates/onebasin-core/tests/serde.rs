//! Symmetries and alignments come back from JSON as they were, and hostile JSON is refused.

use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Perm, Tensor};

/// A hidden layer, heads with families, and a group that stands in slices.
fn example() -> (Params, Symmetry) {
    let shapes: [(&str, &str, &[usize]); 4] = [
        ("fc.weight", "h1 .", &[4, 3]),
        ("q.weight", "(heads qk@heads) h1", &[6, 4]),
        ("k.weight", "(heads qk@heads) .", &[6, 2]),
        ("cut.weight", "(pad[0:1] + h1 + pad[1:2]) 5", &[6, 5]),
    ];
    let tensor = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        Tensor::from_f32(shape, (0..count).map(|i| i as f32).collect()).unwrap()
    };
    let params: Params = shapes.iter().map(|(name, _, shape)| ((*name).to_owned(), tensor(shape))).collect();
    let mut spec = SymmetrySpec::from_patterns(shapes.map(|(name, pattern, _)| (name, pattern))).unwrap();
    spec.sizes.insert("heads".to_owned(), 3);
    let symmetry = Symmetry::resolve(&spec, &params).unwrap();
    (params, symmetry)
}

#[test]
fn a_symmetry_comes_back_as_it_was() {
    let (params, symmetry) = example();
    for symmetry in [symmetry.restrict(|name| name == "fc.weight"), symmetry.restrict(|_| false), symmetry] {
        let text = serde_json::to_string(&symmetry).unwrap();
        let back: Symmetry = serde_json::from_str(&text).unwrap();
        assert_eq!(back, symmetry);
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        let alignment = Alignment::random(&symmetry, &mut Stream::new(7, "alignment"));
        if symmetry.tensors().count() == params.len() {
            assert_eq!(alignment.apply(&back, &params).unwrap(), alignment.apply(&symmetry, &params).unwrap());
        }
    }
}

#[test]
fn an_alignment_comes_back_as_it_was() {
    let (params, symmetry) = example();
    let alignment = Alignment::random(&symmetry, &mut Stream::new(3, "alignment"));
    let text = serde_json::to_string(&alignment).unwrap();
    let back: Alignment = serde_json::from_str(&text).unwrap();
    assert_eq!(back, alignment);
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    back.check(&symmetry).unwrap();
    assert_eq!(back.apply(&symmetry, &params).unwrap(), alignment.apply(&symmetry, &params).unwrap());
}

#[test]
fn an_alignment_of_other_groups_is_refused() {
    let (params, symmetry) = example();
    let other = r#"{"groups":{"h1":{"size":5,"perms":[[0,1,2,3,4]]}}}"#;
    let other: Alignment = serde_json::from_str(other).unwrap();
    let error = other.apply(&symmetry, &params).unwrap_err().to_string();
    assert_eq!(error, "the alignment is none of this symmetry: group `h1` is not the same in both");
}

#[test]
fn hostile_alignments_are_errors() {
    let refused = |text: &str| serde_json::from_str::<Alignment>(text).unwrap_err().to_string();
    for (text, why) in [
        (r#"{"groups":{"h":{"size":2,"perms":[[1,1]]}}}"#, "not a permutation of 0..2: 1 appears twice"),
        (r#"{"groups":{"h":{"size":2,"perms":[[0,2]]}}}"#, "entry 1 is 2"),
        (r#"{"groups":{"h":{"size":3,"perms":[[0,1]]}}}"#, "group `h` needs 1 permutation(s) of 3 units"),
        (r#"{"groups":{"h":{"size":2,"perms":[]}}}"#, "group `h` needs 1 permutation(s) of 2 units, found 0"),
        (r#"{"groups":{"h":{"size":2,"parent":"g","perms":[[0,1]]}}}"#, "there is no group `g`"),
        (r#"{"groups":{"h":{"size":1,"parent":"h","perms":[[0]]}}}"#, "a family over itself"),
        (r#"{"groups":{"h":{"size":-1,"perms":[]}}}"#, "invalid value"),
        (r#"{"groups":{"h":{"size":1,"perms":[[0]],"extra":1}}}"#, "unknown field"),
        (r#"{"groups":[]}"#, "expected a map"),
        ("{}", "missing field `groups`"),
    ] {
        let found = refused(text);
        assert!(found.contains(why), "{text}: {found}");
    }
    let huge = u64::MAX;
    let families =
        format!(r#"{{"groups":{{"a":{{"size":{huge},"perms":[]}},"b":{{"size":{huge},"parent":"a","perms":[]}}}}}}"#);
    assert!(refused(&families).contains("more units, over all its copies"));
    assert!(serde_json::from_str::<Perm>("[0,0]").is_err());
}

#[test]
fn hostile_symmetries_are_errors() {
    let refused = |text: &str| serde_json::from_str::<Symmetry>(text).unwrap_err().to_string();
    let with = |tensor: &str| {
        format!(r#"{{"groups":{{"h":{{"size":4}},"f":{{"size":2,"parent":"h"}}}},"tensors":{{"w":{tensor}}}}}"#)
    };
    for (tensor, why) in [
        (r#"{"pattern":"h .","shape":[5,3]}"#, "tensor `w`, axis 0"),
        (r#"{"pattern":"h","shape":[4,3]}"#, "has 1 axes, the tensor has 2"),
        (r#"{"pattern":"g .","shape":[4,3]}"#, "group `g`"),
        (r#"{"pattern":"(h f) .","shape":[8,3]}"#, "group `f`"),
        (r#"{"pattern":"f@h .","shape":[2,3]}"#, "must stand once, in one product with `h`"),
        (r#"{"pattern":"(h","shape":[4]}"#, "tensor `w`: pattern `(h`, column 3"),
        (r#"{"pattern":"h[0:2]","shape":[2]}"#, "do not cover"),
        (r#"{"pattern":"h[0:9]","shape":[9]}"#, "do not cover"),
        (r#"{"pattern":".","shape":[18446744073709551615]}"#, "too large for this machine"),
        (r#"{"pattern":". .","shape":[18446744073709551615,2]}"#, "too large for this machine"),
        (r#"{"pattern":". .","shape":[18446744073709551615,0]}"#, "too large for this machine"),
        (r#"{"pattern":"(9999999999 9999999999)","shape":[18446744073709551615]}"#, "too large for this machine"),
        (r#"{"pattern":"h .","shape":[4,3],"extra":1}"#, "unknown field"),
    ] {
        let found = refused(&with(tensor));
        assert!(found.contains(why), "{tensor}: {found}");
    }
    assert!(refused(&with(&format!(r#"{{"pattern":"{}","shape":[1]}}"#, "(".repeat(100_000)))).contains("nest deeper"));
    assert!(refused(r#"{"groups":{"h":{"size":4,"parent":"g"}},"tensors":{}}"#).contains("there is no group `g`"));
    let ring = r#"{"groups":{"a":{"size":1,"parent":"b"},"b":{"size":1,"parent":"a"}},"tensors":{}}"#;
    assert!(refused(ring).contains("a family over itself"));
}
