//! Streamed apply and merge give the bytes of the same in memory, for every format of either side and any number of
//! threads; folders of shards are one checkpoint, or an error that names what is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onebasin_core::merge::{Interpolation, MergeRule, cast, merge, merge_by_group};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec};
use onebasin_core::{DType, Params, Tensor};
use onebasin_io::{
    Asked, Checkpoint, Metadata, Moving, Target, apply_streamed, merge_streamed, products_streamed, read, write,
};
use proptest::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

const FLOATS: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];
/// Name, shape and pattern; three tensors of one stack have none of their own.
const SHAPES: [(&str, &[usize], &str); 10] = [
    ("embed", &[11, 6], ". stream"),
    ("up", &[70, 6], "wide stream"),
    ("down", &[6, 70], "stream wide"),
    ("flat", &[3, 12, 5], ". (2 stream) ."),
    ("norm", &[6], "stream"),
    ("empty", &[0, 6], ". stream"),
    ("which", &[3, 6], "expert stream"),
    ("x.0", &[4, 6], ""),
    ("x.1", &[4, 6], ""),
    ("x.2", &[4, 6], ""),
];
const STACK: (&str, &str) = ("x.[0:3]", "expert own@expert stream");

/// A network of random weights, of the types that `dtype` gives, with a counter; `rows` is the length of one axis.
fn network(seed: u64, rows: usize, dtype: impl Fn(usize) -> DType) -> Params {
    let mut params = Params::new();
    for (k, (name, shape, _)) in SHAPES.iter().enumerate() {
        let mut shape = shape.to_vec();
        if *name == "embed" {
            shape[0] = rows;
        }
        let mut stream = Stream::new(seed, name);
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| stream.normal()).collect();
        params.insert(*name, Tensor::from_f64_as(dtype(k.min(7)), &shape, &values).unwrap());
    }
    params.insert("steps", Tensor::from_u32(&[2], vec![seed as u32, 7]).unwrap());
    params
}

fn symmetry(params: &Params) -> Symmetry {
    let single = SHAPES.iter().map(|(name, _, pattern)| (*name, *pattern)).filter(|(_, pattern)| !pattern.is_empty());
    let patterns = single.chain([("steps", "."), STACK]);
    Symmetry::resolve(&SymmetrySpec::from_patterns(patterns).unwrap(), params).unwrap()
}

/// Writes a network as one file, or as shards of every third tensor.
fn save(folder: &Path, name: &str, params: &Params, sharded: bool) -> PathBuf {
    let mut metadata = Metadata::default();
    metadata.set("format", "pt");
    if !sharded {
        let path = folder.join(format!("{name}.safetensors"));
        write(&path, params, &metadata).unwrap();
        return path;
    }
    let path = folder.join(name);
    std::fs::create_dir(&path).unwrap();
    let shard = |k: usize| format!("model-{}-of-3.safetensors", k % 3 + 1);
    let map: BTreeMap<&str, String> = params.names().enumerate().map(|(k, n)| (n, shard(k))).collect();
    for k in 0..3 {
        let part = params.iter().filter(|(n, _)| map[n] == shard(k)).map(|(n, t)| (n.to_owned(), t.clone()));
        write(&path.join(shard(k)), &part.collect(), &metadata).unwrap();
    }
    let index = json!({ "metadata": { "total_size": 0 }, "weight_map": map });
    std::fs::write(path.join("model.safetensors.index.json"), index.to_string()).unwrap();
    path
}

/// All files below a folder, and their bytes.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if path.is_file() {
        return BTreeMap::from([(PathBuf::new(), std::fs::read(path).unwrap())]);
    }
    let entries = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path());
    entries.map(|p| (p.file_name().unwrap().into(), std::fs::read(&p).unwrap())).collect()
}

fn header(digests: &[&str]) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.set_json("digests", &json!(digests));
    metadata
}

/// Runs on so many threads.
fn on<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    rows: usize,
    types: [usize; 4],
    sharded: [bool; 2],
    lambda: f64,
    how: usize,
    dtype: Option<DType>,
}

fn case() -> impl Strategy<Value = Case> {
    let lambda = prop_oneof![Just(0.0), Just(0.5), Just(1.0), 0.0..1.0];
    let dtype = prop::option::of((0..4_usize).prop_map(|k| FLOATS[k]));
    let parts =
        (any::<u64>(), 0..40_usize, [0..4_usize, 0..4, 0..4, 0..4], any::<[bool; 2]>(), lambda, 0..3_usize, dtype);
    parts.prop_map(|(seed, rows, types, sharded, lambda, how, dtype)| Case {
        seed,
        rows,
        types,
        sharded,
        lambda,
        how,
        dtype,
    })
}

/// Merges a pair in memory and streamed, and compares what was written.
fn compare(case: &Case) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let [a0, a1, b0, b1] = case.types.map(|k| FLOATS[k]);
    let pair = [
        network(case.seed, case.rows, |k| [a0, a1][k % 2]),
        network(case.seed.wrapping_add(1), case.rows, |k| [b0, b1][k % 2]),
    ];
    let paths: Vec<PathBuf> = (0..2).map(|k| save(at, ["a", "b"][k], &pair[k], case.sharded[k])).collect();
    let symmetry = symmetry(&pair[0]);
    let alignment = Alignment::random(&symmetry, &mut Stream::new(case.seed, "alignment"));
    let of_group = BTreeMap::from([(GroupId(0), 0.25), (GroupId(1), 1.0)]);
    let carried: Params = [("rest".to_owned(), Tensor::from_u32(&[1], vec![3]).unwrap())].into_iter().collect();

    let moved = alignment.apply(&symmetry, &pair[1]).unwrap();
    let merged = match case.how {
        0 => merge(&pair[0], &moved, case.lambda, Interpolation::Lerp),
        1 => merge(&pair[0], &moved, case.lambda, Interpolation::Slerp),
        _ => merge_by_group(&symmetry, &pair[0], &moved, case.lambda, &of_group),
    };
    let mut merged = merged.unwrap();
    if let Some(dtype) = case.dtype {
        merged = cast(&merged, dtype).unwrap();
    }
    let ending = if case.sharded[0] { "" } else { ".safetensors" };
    let out = |name: &str| at.join(format!("{name}{ending}"));
    let open = |k: usize| read(&paths[k]).unwrap();
    let digests = [open(0).digest().to_owned(), open(1).digest().to_owned()];
    let with_rest =
        |params: Params| params.iter().chain(carried.iter()).map(|(n, t)| (n.to_owned(), t.clone())).collect();
    let target = |name: &str, like: &Checkpoint| Target::like(&out(name), like).unwrap();
    let expected = header(&[&digests[0], &digests[1]]);
    if case.sharded[0] {
        target("expected", &open(0)).write(&merged, &expected).unwrap();
    } else {
        target("expected", &open(0)).write(&with_rest(merged), &expected).unwrap();
    }
    for threads in [1, 3] {
        on(threads, || {
            let (a, b) = (open(0), open(1));
            let moving = Moving { b: &b, symmetry: &symmetry, alignment: &alignment };
            let target = target(&format!("found{threads}"), &a);
            let mut rule = match case.how {
                0 => MergeRule::lerp(case.lambda),
                1 => MergeRule::slerp(case.lambda, products_streamed(&target, &a, &moving, &|_| true).unwrap()),
                _ => MergeRule::by_group(&symmetry, case.lambda, &of_group),
            }
            .unwrap();
            if let Some(dtype) = case.dtype {
                rule = rule.cast(dtype).unwrap();
            }
            let nothing = Params::new();
            let rest = if case.sharded[0] { &nothing } else { &carried };
            merge_streamed(&target, &a, &moving, rest, &rule, &|d| header(&d), &Asked::default()).unwrap();
            assert_eq!([a.digest(), b.digest()], [&digests[0], &digests[1]]);
        });
        assert_eq!(files(&out(&format!("found{threads}"))), files(&out("expected")), "{threads} threads");
    }
    let b = open(1);
    let like_b = |name: &str| {
        Target::like(&at.join(if case.sharded[1] { name.to_owned() } else { format!("{name}.safetensors") }), &b)
            .unwrap()
    };
    like_b("moved").write(&moved, &header(&[&digests[1]])).unwrap();
    let moving = Moving { b: &b, symmetry: &symmetry, alignment: &alignment };
    apply_streamed(&like_b("applied"), &moving, &Params::new(), &|d| header(&[d]), &Asked::default()).unwrap();
    assert_eq!(files(like_b("applied").path()), files(like_b("moved").path()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn streamed_is_in_memory(case in case()) {
        compare(&case);
    }
}

#[test]
fn tensors_of_many_pieces() {
    for (types, how, dtype) in [([3, 3, 3, 3], 0, None), ([1, 3, 2, 0], 1, Some(DType::BF16)), ([2, 2, 1, 1], 2, None)]
    {
        compare(&Case { seed: 5, rows: 400_000, types, sharded: [true, false], lambda: 0.3, how, dtype });
    }
}

#[test]
fn a_value_that_is_not_finite_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let good = network(0, 4, |_| DType::BF16);
    let mut bad = network(1, 4, |_| DType::BF16);
    let mut values = bad.require("up").unwrap().to_f64().unwrap().into_owned();
    values[13] = f64::NAN;
    bad.insert("up", Tensor::from_f64_as(DType::BF16, &[70, 6], &values).unwrap());
    let symmetry = symmetry(&good);
    let alignment = Alignment::identity(&symmetry);
    for (k, (a, b)) in [(&good, &bad), (&bad, &good)].into_iter().enumerate() {
        let [a, b] = [("a", a), ("b", b)].map(|(name, p)| read(&save(at, &format!("{name}{k}"), p, true)).unwrap());
        let moving = Moving { b: &b, symmetry: &symmetry, alignment: &alignment };
        let out = at.join(format!("out{k}"));
        let target = Target::like(&out, &a).unwrap();
        let rule = MergeRule::lerp(0.5).unwrap();
        let error = merge_streamed(&target, &a, &moving, &Params::new(), &rule, &|d| header(&d), &Asked::default())
            .unwrap_err();
        let (error, path) = (error.to_string(), if k == 0 { "b0" } else { "a1" });
        assert!(error.contains("`up`") && error.contains("[2, 1]") && error.contains(path), "{error}");
        assert!(!out.exists());
    }
}

#[test]
fn a_digest_of_shards_is_that_of_what_sha256sum_prints() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "net", &network(0, 4, |_| DType::F32), true);
    let shards = files(&path).into_iter().filter(|(name, _)| name.extension().unwrap() == "safetensors");
    let lines = shards.map(|(name, bytes)| format!("{}  {}\n", hex::encode(Sha256::digest(bytes)), name.display()));
    let listing: String = lines.collect();
    assert_eq!(read(&path).unwrap().digest(), hex::encode(Sha256::digest(listing)));
}

#[test]
fn folders_and_indices_open_as_one_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let net = network(0, 4, |k| FLOATS[k % 4]);
    let sharded = save(at, "sharded", &net, true);
    for path in [sharded.clone(), sharded.join("model.safetensors.index.json")] {
        let found = read(&path).unwrap();
        assert_eq!((&found.params, found.metadata.get("format")), (&net, Some("pt")));
    }
    let whole = at.join("whole");
    std::fs::create_dir(&whole).unwrap();
    write(&whole.join("model.safetensors"), &net, &Metadata::default()).unwrap();
    assert_eq!(read(&whole).unwrap().params, net);
    // The same kind as the model of the same name: a folder, unless one file is asked for.
    for (like, out, is_folder) in [(&sharded, "x", true), (&whole, "y/", true), (&sharded, "z.safetensors", false)] {
        let target = Target::like(&at.join(out), &read(like).unwrap()).unwrap();
        assert_eq!(target.is_folder(), is_folder);
        target.write(&net, &Metadata::default()).unwrap();
        assert_eq!(read(&at.join(out)).unwrap().params, net, "{out}");
    }
    // Once more over itself; but nothing goes into a folder with another checkpoint.
    Target::like(&at.join("x"), &read(&sharded).unwrap()).unwrap().write(&net, &Metadata::default()).unwrap();
    let error = Target::like(&whole, &read(&sharded).unwrap()).unwrap_err().to_string();
    assert!(error.contains("another checkpoint (model.safetensors)"), "{error}");
    // One file beside the shards is the same network, or nobody knows which is meant.
    std::fs::copy(whole.join("model.safetensors"), sharded.join("model.safetensors")).unwrap();
    assert_eq!(read(&sharded).unwrap().params, net);
    write(&sharded.join("model.safetensors"), &network(1, 4, |k| FLOATS[k % 4]), &Metadata::default()).unwrap();
    let error = read(&sharded).unwrap_err().to_string();
    assert!(error.contains("is a folder") && error.contains("name the one that is meant"), "{error}");
}

#[test]
fn an_index_that_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "net", &network(0, 4, |_| DType::F32), true);
    let index = path.join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let mut map: serde_json::Value = serde_json::from_str(&text).unwrap();
    let refused = |text: &str, words: &[&str]| {
        std::fs::write(&index, text).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "expected {words:?} in {error}");
    };
    for outside in ["../a.safetensors", "/etc/passwd", "a/../b", "x/model.safetensors", "", "."] {
        map["weight_map"]["up"] = json!(outside);
        refused(&map.to_string(), &["shard", "same folder"]);
    }
    map["weight_map"]["up"] = json!("missing.safetensors");
    refused(&map.to_string(), &["missing.safetensors", "No such file"]);
    map["weight_map"]["up"] = json!("model-2-of-3.safetensors");
    refused(&map.to_string(), &["`up`", "model-1-of-3.safetensors", "model-2-of-3.safetensors"]);
    refused(&text.replace("\"down\"", "\"gone\""), &["`down`"]);
    map = serde_json::from_str(&text).unwrap();
    map["weight_map"]["ghost"] = json!("model-1-of-3.safetensors");
    refused(&map.to_string(), &["`ghost`", "is not in shard `model-1-of-3.safetensors`"]);
    for nonsense in ["", "[]", "{}", "{\"weight_map\": 3}", "{\"weight_map\": {}}", &text[..text.len() / 2]] {
        refused(nonsense, &["not a usable index"]);
    }
    // A tensor that the index does not list, and a second copy of one that it lists elsewhere: passed over, and said.
    map = serde_json::from_str(&text).unwrap();
    map["weight_map"].as_object_mut().unwrap().remove("up");
    std::fs::write(&index, map.to_string()).unwrap();
    let other = read(&path.join("model-2-of-3.safetensors")).unwrap();
    let mut twice = other.params.clone();
    twice.insert("down", network(0, 4, |_| DType::F32).require("flat").unwrap().clone());
    write(&path.join("model-2-of-3.safetensors"), &twice, &other.metadata).unwrap();
    let found = read(&path).unwrap();
    let net = network(0, 4, |_| DType::F32);
    assert_eq!((found.params.get("down"), found.params.get("up")), (net.get("down"), None));
    let said: Vec<&str> = found.passed_over.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(said, ["up", "down"]);
}
