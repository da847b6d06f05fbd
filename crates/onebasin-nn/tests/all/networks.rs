//! Built-in networks: names, shapes and sizes as their sources have them, initial weights, and what is refused.

use onebasin_core::graph::{Graph, Op};
use onebasin_core::stream::Stream;
use onebasin_core::{DType, Params, Tensor};
use onebasin_nn::Network;
use onebasin_nn::network::known;
use onebasin_testkit::data_or_skip;
use sha2::{Digest, Sha256};

fn graph(name: &str, input: &[usize], classes: usize) -> Graph {
    Network::new(name, input, classes).unwrap().graph().unwrap()
}

/// Trainable weights.
fn count(g: &Graph) -> usize {
    let len = |shape: &[usize]| shape.iter().product::<usize>();
    g.params().map(|p| len(&p.shape)).sum::<usize>() - g.statistics().map(|v| len(g.shape(v))).sum::<usize>()
}

/// Zeros of a network's shapes.
fn zeros(g: &Graph) -> Params {
    let zero = |shape: &[usize]| Tensor::from_f32(shape, vec![0.0; shape.iter().product()]).unwrap();
    g.params().map(|p| (p.name.clone(), zero(&p.shape))).collect()
}

fn refused(name: &str, input: &[usize], classes: usize) -> String {
    Network::new(name, input, classes).unwrap_err().to_string()
}

#[test]
fn every_name_of_the_table_answers_classes() {
    for name in known().iter().flat_map(|row| row.names) {
        let sample: &[usize] = if name.starts_with("mlp") { &[28, 28] } else { &[3, 32, 32] };
        let g = graph(name, sample, 7).with_batch(5).unwrap();
        assert_eq!(g.shape(g.outputs()[0]), [5, 7], "{name}");
        assert_eq!(g.inputs().map(|v| g.shape(v)).collect::<Vec<_>>(), [[&[5], sample].concat()], "{name}");
    }
    for (name, input) in [("resnet18", [3, 224, 224]), ("resnet50-ln", [3, 96, 160]), ("vgg16_bn", [3, 448, 224])] {
        let g = graph(name, &input, 1000);
        assert_eq!(g.shape(g.outputs()[0]), [1, 1000], "{name}");
    }
    let g = graph("resnet20-ln", &[28, 28], 10);
    assert_eq!(g.params().next().unwrap().shape, [16, 1, 3, 3]);
}

/// The papers' and torchvision's own numbers, to the digits they give.
#[test]
fn sizes_are_the_published_ones() {
    let close = |name: String, millions: f64, unit: f64| {
        let found = count(&graph(&name, &[3, 32, 32], 10)) as f64 / 1e6;
        assert!((found - millions).abs() <= unit / 2.0, "{name}: {found} million, published {millions}");
    };
    assert_eq!(count(&graph("mlp:512x3", &[28, 28], 10)), 932_362);
    assert_eq!(count(&graph("mlp:512x3", &[3, 32, 32], 10)), 2_103_818);
    let vgg = [(0.24, 0.01), (0.96, 0.01), (3.82, 0.01), (15.25, 0.01), (60.97, 0.01), (243.8, 0.1)];
    for (k, (millions, unit)) in vgg.into_iter().enumerate() {
        close(format!("vgg16-ln:{}", 0.125 * f64::from(1 << k)), millions, unit);
    }
    let resnet = [(0.293, 0.001), (1.17, 0.01), (4.66, 0.01), (18.6, 0.1), (74.4, 0.1), (297.4, 0.1)];
    for (k, (millions, unit)) in resnet.into_iter().enumerate() {
        close(format!("resnet20-ln:{}", 1 << k), millions, unit);
    }
    // He et al. 2016, table 6: 0.27, 0.46, 0.66, 0.85, 1.7 million.
    for (depth, millions) in [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.73)] {
        close(format!("resnet{depth}-a"), millions, 0.011);
    }
    for (name, weights) in [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet50-bn", 25_557_032),
        ("resnet50-ln", 25_557_032),
        ("vgg16", 138_357_544),
        ("vgg16_bn", 138_365_992),
    ] {
        assert_eq!(count(&graph(name, &[3, 224, 224], 1000)), weights, "{name}");
    }
}

/// SHA-256 of one line `name [shape]` per tensor in the order of torchvision 0.29's state dict, counters left out.
#[test]
fn names_shapes_and_order_are_torchvisions() {
    for (name, digest) in [
        ("resnet18", "d7173cd3f0d31e987165572eb61c1d0e9fe08b82e163911b3786becd7803b12b"),
        ("resnet34", "fb671cc91bce36a6e6ca974f38ad8f825bab1ddd8cc4df9a69e7cf67bd658d30"),
        ("resnet50", "a8cc8b0cd128de330c5b836bf53b53ae39c96add3c9688636ba159e4e3765cb3"),
        ("vgg16", "e0f24b3678fcfb4fb6d98d4c07950370c574f0c361a0f21b5172120c8e43e233"),
        ("vgg16_bn", "e02e28588368a7e36cee743d6288d58b4347e1f617b9826bfdcef52e72b46727"),
    ] {
        let g = graph(name, &[3, 224, 224], 1000);
        let lines: Vec<String> = g.params().map(|p| format!("{} {:?}\n", p.name, p.shape)).collect();
        assert_eq!(hex::encode(Sha256::digest(lines.concat())), digest, "{name}: {lines:?}");
    }
}

#[test]
fn real_checkpoints_of_option_a_fit() {
    let Some(folder) = data_or_skip("real_checkpoints_of_option_a_fit") else { return };
    for file in ["resnet20_a.safetensors", "resnet20_b.safetensors"] {
        let mut params = onebasin_io::read(&folder.join("checkpoints/cifar10_resnet20").join(file)).unwrap().params;
        let network = Network::fitting("resnet20-a", &params).unwrap();
        assert_eq!((network.input.as_slice(), network.classes), (&[3, 32, 32][..], 10), "{file}");
        let other = Network::fitting("resnet32-a", &params).unwrap_err().to_string();
        assert!(other.contains("`layer1.3.conv1.weight`") && other.contains("lacks 60 of the 157 tensors"), "{other}");

        params.insert("layer1.0.conv1.num_batches_tracked", Tensor::new(DType::I64, &[], vec![0; 8].into()).unwrap());
        let extra = network.check(&params).unwrap_err().to_string();
        assert!(extra.contains("layer1.0.conv1.num_batches_tracked"), "{extra}");
    }
}

/// Padding that Flax calls SAME: at stride 2 an even image has its one zero at the end.
#[test]
fn strided_convolutions_are_padded_as_flax_does() {
    let paddings = |side: usize| -> Vec<[usize; 2]> {
        let g = graph("resnet20-ln", &[3, side, side], 10);
        let padding = |op: &Op| match op {
            Op::Conv(conv) if conv.strides == [2, 2] => Some([conv.before[0], conv.after[1]]),
            _ => None,
        };
        g.nodes().iter().filter_map(|n| padding(&n.op)).collect()
    };
    assert_eq!(paddings(32), [[0, 1]; 4]);
    assert_eq!(paddings(33), [[1, 1]; 4]);
}

/// The bits that checkpoints trained from a seed began with, and the definition as its own slow twin.
#[test]
fn initial_weights_never_change() {
    let params = Network::new("mlp:33-7", &[784], 10).unwrap().init(5).unwrap();
    let mut digest = Sha256::new();
    params.iter().for_each(|(_, t)| digest.update(t.bytes()));
    assert_eq!(hex::encode(digest.finalize()), "ea39024fc5426e2b52de538257270a5646b87da1c873e0f2d92e823cd5ea6744");
    assert_eq!(Network::new("mlp:33-7", &[28, 28], 10).unwrap().init(5).unwrap(), params);

    let params = Network::new("resnet20-bn:0.25", &[3, 32, 32], 10).unwrap().init(3).unwrap();
    let values = |name: &str| params.get(name).unwrap().to_f32().unwrap().into_owned();
    let name = "layer2.0.conv1.weight";
    let mut stream = Stream::new(3, &format!("init/{name}"));
    let kept = std::iter::repeat_with(|| stream.normal()).filter(|z| z.abs() <= 2.0);
    let scale = (1.0_f64 / (4.0 * 9.0)).sqrt() / 0.879_625_661_034_239_8;
    assert_eq!(values(name), kept.take(8 * 4 * 9).map(|z| (z * scale) as f32).collect::<Vec<_>>());
    for (part, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
        assert_eq!(values(&format!("layer2.0.shortcut.norm.{part}")), [value; 8], "{part}");
    }
    let norm = Network::new("vgg16-ln:0.125", &[3, 32, 32], 10).unwrap().init(0).unwrap();
    assert_eq!(norm.get("norm3.weight").unwrap().to_f32().unwrap()[..], [1.0; 16]);
    assert_eq!(norm.get("conv3.bias").unwrap().to_f32().unwrap()[..], [0.0; 16]);
}

#[test]
fn initial_kernels_have_variance_one_over_fan_in() {
    let params = Network::new("resnet18", &[3, 32, 32], 10).unwrap().init(1).unwrap();
    for (name, fan_in) in [("conv1.weight", 3 * 49), ("layer3.0.downsample.0.weight", 128), ("fc.weight", 512)] {
        let values = params.get(name).unwrap().to_f64().unwrap();
        let variance = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        // The standard error of a sample variance, six of them.
        let tolerance = 6.0 * (2.0 / values.len() as f64).sqrt();
        assert!((variance * f64::from(fan_in) - 1.0).abs() < tolerance, "{name}: {variance}");
    }
}

#[test]
fn a_network_is_found_by_its_tensors() {
    for (name, input, classes) in [
        ("mlp:24x2", vec![784], 10),
        ("mlp:5", vec![3], 2),
        ("vgg16-bn:0.125", vec![1, 32, 32], 3),
        ("resnet20-ln:0.5", vec![3, 32, 32], 100),
        ("resnet18", vec![4, 224, 224], 5),
    ] {
        let network = Network::new(name, &input, classes).unwrap();
        assert_eq!(Network::fitting(name, &zeros(&network.graph().unwrap())).unwrap(), network);
    }
    let resnet = Network::new("resnet18", &[3, 224, 224], 10).unwrap();
    assert_eq!(resnet.with_input(&[3, 32, 32]).unwrap().input, [3, 32, 32]);
    let error = resnet.with_input(&[32, 32]).unwrap_err().to_string();
    assert!(error.contains("`conv1.weight`") && error.contains("[64, 1, 7, 7]"), "{error}");
}

#[test]
fn checkpoints_that_do_not_fit_are_refused() {
    let network = Network::new("resnet20-bn:0.25", &[3, 32, 32], 10).unwrap();
    let whole = zeros(&network.graph().unwrap());
    network.check(&whole).unwrap();
    let with = |name: &str, tensor: Tensor| {
        let mut params = whole.clone();
        params.insert(name, tensor);
        network.check(&params).map_err(|e| e.to_string())
    };
    let counter = Tensor::new(DType::I64, &[], vec![0; 8].into()).unwrap();
    with("norm1.num_batches_tracked", counter.clone()).unwrap();
    for (name, tensor, words) in [
        ("norm9.num_batches_tracked", counter.clone(), "does not have"),
        ("norm1.num_batches_tracked", Tensor::from_f32(&[], vec![0.0]).unwrap(), "does not have"),
        ("fc.bias", counter, "i64"),
        ("fc.bias", Tensor::from_f32(&[9], vec![0.0; 9]).unwrap(), "[9]"),
        ("extra", Tensor::from_f32(&[1], vec![0.0]).unwrap(), "does not have"),
    ] {
        let error = with(name, tensor).unwrap_err();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
    let missing: Params =
        whole.iter().filter(|(n, _)| *n != "fc.bias").map(|(n, t)| (n.to_owned(), t.clone())).collect();
    let error = network.check(&missing).unwrap_err().to_string();
    assert!(error.contains("`fc.bias`") && error.contains("none of this name"), "{error}");
}

#[test]
fn hostile_names_are_refused_and_the_error_lists_what_is_known() {
    let long = format!("mlp:{}", vec!["1"; 2000].join("-"));
    for name in [
        "",
        ":",
        "mlp",
        "mlp:",
        "mlp:0x3",
        "mlp:3x0",
        "mlp:x",
        "mlp:5x5x5",
        "mlp:-1",
        "mlp:9999999x1",
        "mlp:1x9999999",
        "mlp:99999999999999999999999",
        &long,
        "vgg",
        "vgg16-ln:",
        "vgg16-ln:0",
        "vgg16-ln:-1",
        "vgg16-ln:nan",
        "vgg16-ln:inf",
        "vgg16-ln:0.3",
        "vgg16-ln:1e300",
        "vgg16-xx",
        "resnet20",
        "resnet21-ln",
        "resnet20-ln:0.001",
        "resnet20-a:2",
        "resnet18:2",
        "resnet50-a",
        "resnet50-ln:2",
        "vgg16_ln",
        "resnet-",
        "resnet20-",
    ] {
        let error = refused(name, &[3, 32, 32], 10);
        for row in known() {
            assert!(row.names.iter().all(|n| error.contains(n)) && error.contains(row.what), "{error}");
        }
    }
    for (name, input, classes, words) in [
        ("mlp:8", &[][..], 10, "out of range"),
        ("mlp:8", &[3, 0], 10, "out of range"),
        ("mlp:8", &[usize::MAX, 2], 10, "out of range"),
        ("resnet18", &[1 << 20, 1 << 20, 1 << 20], 10, "out of range"),
        ("mlp:8", &[8], 0, "0 classes"),
        ("mlp:8", &[8], usize::MAX, "classes"),
        ("mlp:1048576x1024", &[8], 10, "weights, more than"),
        ("vgg16-ln:16384", &[3, 32, 32], 10, "weights, more than"),
        ("resnet20-ln", &[3072], 10, "images"),
        ("vgg16_bn", &[1, 3, 32, 32], 10, "images"),
        ("vgg16-ln", &[28, 28], 10, "pool4"),
        ("vgg16", &[3, 96, 96], 10, "multiple of 224"),
    ] {
        let error = refused(name, input, classes);
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}
