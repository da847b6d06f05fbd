//! Files that hold more, less or something else than the graph describes.

use std::path::{Path, PathBuf};

use onebasin::core::graph::{Graph, Op, op::Unary};
use onebasin::core::stream::Stream;
use onebasin::core::symmetry::Alignment;
use onebasin::io::{Metadata, write};
use onebasin::{
    Align, Aligned, Apply, Blueprint, Context, Differs, Error, Likely, Many, Merge, MergeMany, Model, Network, Pair,
    Params, Tensor, apply,
};

/// A tied network: an embedding table that is also the last layer, a hidden layer between.
fn tied() -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let e = g.param("embed.weight", &[5, 8]).unwrap();
    let h = g.push("embed", Op::MatMul, &[x, e]).unwrap();
    let h = g.linear("up", h, 16).unwrap();
    let h = g.relu(h).unwrap();
    let h = g.linear("down", h, 8).unwrap();
    let y = g.push("head", Op::Linear, &[h, e]).unwrap();
    g.output(y);
    g
}

fn random(graph: &Graph, seed: u64) -> Params {
    let draw = |p: &onebasin::core::graph::Value| {
        let mut stream = Stream::new(seed, &p.name);
        let values = (0..p.shape.iter().product()).map(|_| stream.normal() as f32).collect();
        (p.name.clone(), Tensor::from_f32(&p.shape, values).unwrap())
    };
    graph.params().map(draw).collect()
}

/// These weights with their units renumbered.
fn renumbered(graph: &Graph, params: &Params, seed: u64) -> Params {
    let model = Model::with_graph("net", params.clone(), graph.clone()).unwrap();
    let symmetry = model.symmetry().unwrap();
    Alignment::random(&symmetry, &mut Stream::new(seed, "renumbered")).apply(&symmetry, params).unwrap()
}

fn with(mut params: Params, more: &[(&str, Tensor)]) -> Params {
    params.extend(more.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())));
    params
}

fn numbers(values: &[f32]) -> Tensor {
    Tensor::from_f32(&[values.len()], values.to_vec()).unwrap()
}

fn pair(graph: &Graph, a: Params, b: Params) -> onebasin::Result<Pair> {
    Pair::new(Model::with_graph("a", a, graph.clone())?, Model::with_graph("b", b, graph.clone())?)
}

fn merged(pair: &Pair, lambda: f64) -> Params {
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let options = Merge { lambda, ..Merge::default() };
    pair.merge(&aligned, &options, &Context::default()).unwrap().params().unwrap()
}

#[test]
fn a_tensor_stored_twice_moves_with_its_original() {
    let graph = tied();
    let a = random(&graph, 0);
    let b = renumbered(&graph, &a, 1);
    let twice = |p: &Params| with(p.clone(), &[("lm_head.weight", p.require("embed.weight").unwrap().clone())]);
    let planted = pair(&graph, twice(&a), twice(&b)).unwrap();
    assert_eq!(planted.account().follow["lm_head.weight"], "embed.weight");
    assert_eq!(merged(&planted, 0.5), twice(&a));

    let independent = random(&graph, 2);
    let apart = pair(&graph, twice(&a), twice(&independent)).unwrap();
    for lambda in [0.0, 0.3, 1.0] {
        let found = merged(&apart, lambda);
        assert_eq!(found.get("lm_head.weight"), found.get("embed.weight"), "λ = {lambda}");
    }
    // Stored twice in A alone.
    let found = merged(&pair(&graph, twice(&a), b).unwrap(), 0.5);
    assert_eq!(found, twice(&a));
}

#[test]
fn what_the_graph_does_not_use_and_differs_is_an_error_that_says_what_it_likely_is() {
    let graph = tied();
    let (a, b) = (random(&graph, 0), random(&graph, 1));
    let cases: [(&str, Likely); 5] = [
        ("model_ema.up.weight", Likely::MovingAverage),
        ("up.lora_A.weight", Likely::Adapter),
        ("optimizer.exp_avg", Likely::OptimizerState),
        ("up.parametrizations.weight.original0", Likely::Parametrised),
        ("scale", Likely::Unknown),
    ];
    for (name, likely) in cases {
        let [one, two] = [[1.0, 2.0], [1.0, 3.0]].map(|v| [(name, numbers(&v))]);
        for (a, b) in [
            (with(a.clone(), &one), with(b.clone(), &two)),
            (a.clone(), with(b.clone(), &two)),
            (with(a.clone(), &one), b.clone()),
        ] {
            match pair(&graph, a, b) {
                Err(Error::Unused { tensors }) => {
                    assert_eq!((tensors.len(), tensors[0].tensor.as_str(), tensors[0].likely), (1, name, likely));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        let open = |params: Params, ignore: &[&str], carry: &[&str]| {
            Model::with_graph("net", params, graph.clone()).unwrap().without(ignore, carry)
        };
        let (a, b) = (with(a.clone(), &one), with(b.clone(), &two));
        let ignored = Pair::new(open(a.clone(), &[name], &[]), open(b.clone(), &[], &[])).unwrap();
        assert!(ignored.account().left_out.contains(name) && ignored.a().rest().is_empty());
        let carried = Pair::new(open(a, &[], &[name]), open(b, &[], &[])).unwrap();
        assert!(carried.account().copied.contains(name) && carried.a().rest().len() == 1);
    }
}

/// A's graph has a BatchNorm folded in, and only B's checkpoint has it: to ignore it would be wrong.
#[test]
fn a_batch_norm_that_only_the_other_file_holds_is_told() {
    let graph = tied();
    let mut b = random(&graph, 1);
    for part in ["weight", "bias", "running_mean", "running_var"] {
        b.insert(format!("norm.{part}"), numbers(&[1.0, 2.0, 3.0]));
    }
    match pair(&graph, random(&graph, 0), b) {
        Err(Error::Unused { tensors }) => {
            assert!(tensors.iter().all(|t| (t.how, t.likely) == (Differs::OnlyB, Likely::FoldedNorm)), "{tensors:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_prefix_that_no_name_begins_with_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let network = Network::new("mlp:16x2", &[8], 3).unwrap();
    Model::of(&network, network.init(0).unwrap()).unwrap().save(&path).unwrap();
    let blueprint = Blueprint { prefix: Some("student.".to_owned()), ..Default::default() };
    for opened in [Model::open(&path, &blueprint).err(), Pair::open(&path, &path, &blueprint).err()] {
        assert!(matches!(opened, Some(Error::NoPrefix { .. })), "{opened:?}");
    }
}

#[test]
fn a_batch_norm_that_the_graph_lacks_is_told() {
    let graph = tied();
    let (a, b) = (random(&graph, 0), random(&graph, 1));
    let norm = |shift: f32| {
        ["weight", "bias", "running_mean", "running_var"]
            .map(|part| (format!("norm.{part}"), numbers(&[1.0 + shift, 2.0, 3.0])))
    };
    let hold = |params: &Params, shift: f32| {
        let mut params = params.clone();
        params.extend(norm(shift));
        params
    };
    for shift in [0.0, 0.5] {
        let error = pair(&graph, hold(&a, 0.0), hold(&b, shift)).unwrap_err();
        let Error::Unused { tensors } = &error else { panic!("{error}") };
        assert!(tensors.len() == 4 && tensors.iter().all(|t| t.likely == Likely::FoldedNorm), "{error}");
        assert!(error.to_string().contains("folded"), "{error}");
    }
    let model = Model::with_graph("a", hold(&a, 0.0), graph).unwrap();
    let symmetry = model.symmetry().unwrap();
    assert!(model.ensure(&symmetry, &Context::default()).unwrap_err().to_string().contains("folded"));
}

#[test]
fn bookkeeping_and_equal_buffers_are_copied() {
    let graph = tied();
    let (a, b) = (random(&graph, 0), random(&graph, 1));
    let counter = |n: u32| ("norm.num_batches_tracked", Tensor::from_u32(&[], vec![n]).unwrap());
    let mask = ("mask", numbers(&[0.0, f32::NEG_INFINITY]));
    let found =
        pair(&graph, with(a.clone(), &[counter(3), mask.clone()]), with(b.clone(), &[counter(9), mask.clone()]))
            .unwrap();
    assert_eq!(found.account().copied.len(), 2);
    let only_b = pair(&graph, a, with(b, &[counter(9)])).unwrap();
    assert!(only_b.account().left_out.contains("norm.num_batches_tracked"));
}

#[test]
fn graphs_that_differ_are_no_pair_and_other_names_are() {
    let net = |act: Unary, second: &str| {
        let mut g = Graph::new();
        let x = g.input("x", &[1, 6]).unwrap();
        let h = g.linear("fc1", x, 8).unwrap();
        let h = g.push("act", Op::Unary(act), &[h]).unwrap();
        let y = g.linear(second, h, 3).unwrap();
        g.output(y);
        g
    };
    let (relu, tanh, renamed) = (net(Unary::Relu, "fc2"), net(Unary::Tanh, "fc2"), net(Unary::Relu, "onnx::Gemm_17"));
    let model = |graph: &Graph, seed| Model::with_graph("net", random(graph, seed), graph.clone()).unwrap();
    let error = Pair::new(model(&relu, 0), model(&tanh, 1)).unwrap_err();
    assert!(matches!(error, Error::OtherGraph { .. }), "{error}");
    assert!(error.to_string().contains("node `act` is Relu in A; in B it is Tanh"), "{error}");

    let a = random(&relu, 0);
    let b = renumbered(&relu, &a, 1);
    let name = |n: &str| n.replace("fc2", "onnx::Gemm_17");
    let b: Params = b.iter().map(|(n, t)| (name(n), t.clone())).collect();
    let pair = Pair::new(Model::with_graph("a", a.clone(), relu).unwrap(), Model::with_graph("b", b, renamed).unwrap());
    assert_eq!(merged(&pair.unwrap(), 0.5), a);
}

fn save(folder: &Path, name: &str, params: &Params) -> PathBuf {
    let path = folder.join(name);
    write(&path, params, &Metadata::default()).unwrap();
    path
}

#[test]
fn what_frameworks_put_before_names_is_found_and_results_have_as_names() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new("resnet20-bn:1", &[3, 32, 32], 10).unwrap();
    let graph = network.graph().unwrap();
    let a = network.init(0).unwrap();
    let b = renumbered(&graph, &network.init(0).unwrap(), 1);
    for (of_a, of_b) in [("", "module."), ("model._orig_mod.", ""), ("module.", "student.backbone.")] {
        let named =
            |p: &Params, prefix: &str| p.iter().map(|(n, t)| (format!("{prefix}{n}"), t.clone())).collect::<Params>();
        let (path_a, path_b) = (
            save(folder.path(), "a.safetensors", &named(&a, of_a)),
            save(
                folder.path(),
                "b.safetensors",
                &with(named(&b, of_b), &[("step", Tensor::from_u32(&[], vec![1]).unwrap())]),
            ),
        );
        for network in [None, Some("resnet20-bn:1".to_owned())] {
            let blueprint = Blueprint { network, ..Blueprint::default() };
            let pair = Pair::open(&path_a, &path_b, &blueprint).unwrap();
            assert_eq!(merged(&pair, 0.5), named(&a, of_a), "{of_a} {of_b}");
            assert!(pair.a().remarks().len() + pair.b().remarks().len() > 0);
        }
    }
}

#[test]
fn of_a_student_and_a_teacher_one_has_to_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new("mlp:16x2", &[8], 3).unwrap();
    let both = |seed: u64| {
        let of = |prefix: &'static str, seed| {
            let params = network.init(seed).unwrap();
            params.iter().map(|(n, t)| (format!("{prefix}{n}"), t.clone())).collect::<Vec<_>>()
        };
        of("student.", seed).into_iter().chain(of("teacher.", seed + 10)).collect::<Params>()
    };
    let [a, b] = [0, 1].map(|seed| save(folder.path(), &format!("{seed}.safetensors"), &both(seed)));
    let open = |prefix: Option<&str>, ignore: &[&str]| {
        let ignore = ignore.iter().map(|p| (*p).to_owned()).collect();
        let (network, prefix) = (Some("mlp:16x2".to_owned()), prefix.map(str::to_owned));
        Pair::open(&a, &b, &Blueprint { network, prefix, ignore, ..Blueprint::default() })
    };
    let error = |found: onebasin::Result<Pair>| match found {
        Err(Error::At { source, .. }) => *source,
        Err(error) => error,
        Ok(pair) => panic!("{}", pair.account()),
    };
    assert!(matches!(error(open(None, &[])), Error::SeveralPrefixes { .. }));
    assert!(matches!(error(open(Some("student."), &[])), Error::Unused { .. }));
    assert!(matches!(error(open(Some("student."), &["*"])), Error::Used { .. }));
    let pair = open(Some("student."), &["teacher.*"]).unwrap();
    assert!(merged(&pair, 0.0).names().all(|name| name.starts_with("student.")));
    assert!(open(None, &["teacher.*"]).is_ok());
}

#[test]
fn an_alignment_is_used_on_what_it_was_made_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let network = Network::new("mlp:16x2", &[8], 3).unwrap();
    for seed in 0..3 {
        let model = Model::of(&network, network.init(seed).unwrap()).unwrap();
        model.save(path(&format!("{seed}.safetensors"))).unwrap();
    }
    let open = |a: u32, b: u32| {
        Pair::open(path(&format!("{a}.safetensors")), path(&format!("{b}.safetensors")), &Blueprint::default()).unwrap()
    };
    let pair = open(0, 1);
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    aligned.write(path("al.safetensors"), &pair).unwrap();

    let merge = |pair: &Pair, force: bool| {
        let read = Aligned::read(path("al.safetensors"), pair.b()).unwrap();
        let options = Merge { force, ..Merge::default() };
        pair.merge(&read, &options, &Context::default()).map(|merged| merged.params().unwrap())
    };
    assert!(merge(&pair, false).is_ok());
    for (other, exchanged) in [(open(0, 2), false), (open(2, 1), false), (open(1, 0), true)] {
        match merge(&other, false) {
            Err(Error::MadeForOther { exchanged: found, .. }) => assert_eq!(found, exchanged),
            found => panic!("{found:?}"),
        }
        assert!(merge(&other, true).is_ok());
    }
    let other = open(0, 2);
    let read = Aligned::read(path("al.safetensors"), other.b()).unwrap();
    let act = |b: &Model, name: &str, inverse: bool, force: bool| {
        apply(&read, b, path(name), &Apply { inverse, force, ..Apply::default() }, &Context::default())
    };
    let error = act(other.b(), "x.safetensors", false, false).unwrap_err();
    assert!(error.to_string().contains("was made for b = 1.safetensors"), "{error}");

    // Back again, and refiled.
    act(pair.b(), "moved.safetensors", false, false).unwrap();
    let moved = Model::open(path("moved.safetensors"), &Blueprint::default()).unwrap();
    assert!(act(&moved, "again.safetensors", false, false).is_err());
    act(&moved, "back.safetensors", true, false).unwrap();
    let back = Model::open(path("back.safetensors"), &Blueprint::default()).unwrap();
    assert_eq!(back.params(), pair.b().params());
    assert!(act(&back, "again.safetensors", false, false).is_ok());
}

#[test]
fn an_alignment_covers_what_is_copied_and_applies_without_a_graph() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let graph = tied();
    let counter = |n: u32| ("norm.num_batches_tracked", Tensor::from_u32(&[], vec![n]).unwrap());
    let mask = ("mask", numbers(&[0.0, 2.0]));
    let a = random(&graph, 0);
    let twice = |p: &Params| with(p.clone(), &[("lm_head.weight", p.require("embed.weight").unwrap().clone())]);
    let b = with(twice(&renumbered(&graph, &a, 1)), &[counter(2), mask.clone()]);
    let pair = pair(&graph, with(twice(&a), &[counter(1), mask]), b.clone()).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    aligned.write(path("al.safetensors"), &pair).unwrap();

    let bare = Model::open(save(folder.path(), "b.safetensors", &b), &Blueprint::default()).unwrap();
    let read = Aligned::read(path("al.safetensors"), &bare).unwrap();
    apply(&read, &bare, path("moved.safetensors"), &Apply::default(), &Context::default()).unwrap();
    let moved = Model::open(path("moved.safetensors"), &Blueprint::default()).unwrap();
    assert_eq!(moved.params().get("lm_head.weight"), a.get("embed.weight"));
    assert_eq!(moved.params().get("mask"), b.get("mask"));

    let more = Model::open(
        save(folder.path(), "c.safetensors", &with(b, &[("extra", numbers(&[1.0, 2.0]))])),
        &Blueprint::default(),
    );
    let error =
        apply(&read, &more.unwrap(), path("x.safetensors"), &Apply::default(), &Context::default()).unwrap_err();
    assert!(matches!(error, Error::Unused { .. }), "{error}");
}

#[test]
fn an_alignment_knows_what_tensors_are_called_in_b() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let graph = tied();
    let a = random(&graph, 0);
    let b = renumbered(&graph, &a, 1);
    let other = |name: &str| format!("onnx::{}", name.replace('.', "_"));
    let renamed = |p: &Params| p.iter().map(|(n, t)| (other(n), t.clone())).collect::<Params>();
    let of_b = Model::with_graph("b", renamed(&b), graph.with_param_names(other).unwrap()).unwrap();
    let pair = Pair::new(Model::with_graph("a", a.clone(), graph).unwrap(), of_b).unwrap();
    pair.align(&Align::default(), &Context::default()).unwrap().write(path("al.safetensors"), &pair).unwrap();
    let bare = Model::open(save(folder.path(), "b.safetensors", &renamed(&b)), &Blueprint::default()).unwrap();
    let read = Aligned::read(path("al.safetensors"), &bare).unwrap();
    assert_eq!(read.apply(bare.params()).unwrap(), renamed(&a));
}

#[test]
fn many_networks_share_one_account() {
    let graph = tied();
    let a = random(&graph, 0);
    let twice = |p: &Params| with(p.clone(), &[("lm_head.weight", p.require("embed.weight").unwrap().clone())]);
    let models = (0..3).map(|k| Model::with_graph("net", twice(&renumbered(&graph, &a, k)), graph.clone()).unwrap());
    let many = Many::new(models.collect()).unwrap();
    let mean = MergeMany::default().run(&many, &Context::default()).unwrap();
    assert_eq!(mean.params.get("lm_head.weight"), mean.params.get("embed.weight"));
    let last = with(a.clone(), &[("lm_head.weight", a.require("up.bias").unwrap().clone())]);
    let models = [twice(&a), twice(&a), last].map(|p| Model::with_graph("net", p, graph.clone()).unwrap());
    assert!(matches!(Many::new(models.into()), Err(Error::Unused { .. })));
}
