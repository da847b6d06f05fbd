//! CIFAR-10: real and made-up files, normalisation, augmentation.

use std::path::Path;

use onebasin_core::stream::Stream;
use onebasin_lab::data::Augment;
use onebasin_lab::data::augment::{BORDER, TURN, ZOOM, crop_and_flip, zoom_flip_rotate};
use onebasin_lab::{Data, Dataset};
use onebasin_nn::{Network, Samples};
use onebasin_testkit::cifar10_or_skip;
use sha2::{Digest, Sha256};

const RECORD: usize = 3073;
const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

fn open(folder: &Path) -> Result<Data, String> {
    Data::open(&format!("cifar10:{}", folder.display())).map_err(|e| e.to_string())
}

/// Six files of two records; file `f` has labels `f` and `f + 1`, and pixel `k` of record `r` is `f + r + 7 k` mod 256.
fn made_up() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (f, name) in FILES.iter().enumerate() {
        let record = |r: usize| std::iter::once(f + r).chain((0..RECORD - 1).map(move |k| f + r + 7 * k));
        let bytes: Vec<u8> = (0..2).flat_map(record).map(|v| v as u8).collect();
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn seen(data: &Dataset, sample: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; data.input_len()];
    data.fill(0, sample..sample + 1, &mut out).unwrap();
    out
}

/// What the paper's network sees of byte `p` in a channel.
fn normal(p: u8, channel: usize) -> f64 {
    let (mean, std) = ([0.485, 0.456, 0.406][channel], [0.229, 0.224, 0.225][channel]);
    (f64::from(p) / 255.0 - mean) / std
}

#[test]
fn made_up_files_are_read_in_order_and_normalised() {
    let folder = made_up();
    let data = open(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (10, 2));
    assert_eq!((data.train.shape(), data.train.classes()), (&[3, 32, 32][..], 10));
    assert_eq!(data.train.labels(), [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
    assert_eq!(data.test.labels(), [5, 6]);
    assert_eq!(data.train.images().unwrap()[3 * 3072..][..3], [2, 9, 16]);
    let row: Vec<u8> = FILES.iter().flat_map(|f| std::fs::read(folder.path().join(f)).unwrap()).collect();
    assert!(data.notes[0].contains(&hex::encode(Sha256::digest(row))), "{:?}", data.notes);
    assert!(data.notes[1].contains("10 + 2 images"), "{:?}", data.notes);

    let (mut gathered, mut labels) = (vec![0.0; 2 * 3072], [0.0; 2]);
    data.train.gather(&[9, 3], &mut gathered, &mut labels).unwrap();
    assert_eq!((labels, &gathered[3072..]), ([5.0, 2.0], &seen(&data.train, 3)[..]));
    for (k, (&value, &byte)) in gathered.iter().zip(&data.train.images().unwrap()[9 * 3072..]).take(3072).enumerate() {
        let expected = normal(byte, k / 1024);
        assert!((f64::from(value) - expected).abs() <= f64::from(f32::EPSILON) * expected.abs(), "{value}, {expected}");
    }
    assert_eq!(seen(&data.train.take(4), 3), seen(&data.train, 3));
}

#[test]
fn another_size_is_seen_by_the_same_means() {
    let folder = made_up();
    let plain = open(folder.path()).unwrap();
    let small = Data::open(&format!("cifar10:{}@16", folder.path().display())).unwrap();
    assert_eq!((&*small.name, small.train.shape(), small.train.len()), ("cifar10@16", &[3, 16, 16][..], 10));
    for (small, plain) in [(&small.train, &plain.train), (&small.test, &plain.test)] {
        let resized = plain.resized(16, 16).unwrap();
        assert_eq!((small.images(), small.labels()), (resized.images(), resized.labels()));
    }
    for (k, (&value, &byte)) in seen(&small.train, 0).iter().zip(small.train.images().unwrap()).enumerate() {
        let expected = normal(byte, k / 256);
        assert!((f64::from(value) - expected).abs() <= f64::from(f32::EPSILON) * expected.abs(), "{value}, {expected}");
    }
}

#[test]
fn digits_are_divided_by_255_and_nothing_else() {
    let data = Data::open("digits").unwrap().test.take(20);
    for (value, byte) in (0..20).flat_map(|s| seen(&data, s)).zip(data.images().unwrap()) {
        assert_eq!(value, f32::from(*byte) / 255.0);
    }
    // Images without an axis of channels have one.
    assert!(data.clone().normalised(&[0.5; 28], &[0.5; 28]).is_err());
    assert!(data.clone().normalised(&[0.5], &[0.5]).is_ok());
    let image = Dataset::new(&[1, 2, 1], 1, vec![0, 255], vec![0]).unwrap();
    assert!(image.clone().normalised(&[0.5], &[0.0]).is_err());
    assert_eq!(seen(&image.normalised(&[0.5], &[0.5]).unwrap(), 0), [-1.0, 1.0]);
}

#[test]
fn networks_fit_by_shape_or_flattened() {
    let data = open(made_up().path()).unwrap().test;
    for (name, input, classes, fits) in [
        ("resnet20-ln", &[3, 32, 32][..], 10, true),
        ("mlp:4", &[3, 32, 32], 10, true),
        ("mlp:4", &[3072], 10, true),
        ("mlp:4", &[32, 32, 3], 10, false),
        ("resnet20-ln", &[3, 32, 32], 100, false),
    ] {
        let found = data.check_fits(&Network::new(name, input, classes).unwrap());
        assert_eq!(found.is_ok(), fits, "{found:?}");
    }
}

#[test]
fn broken_files_are_named() {
    let folder = made_up();
    let at = |name: &str| folder.path().join(name);
    let whole = std::fs::read(at("data_batch_3.bin")).unwrap();
    let failed = |bytes: &[u8]| {
        std::fs::write(at("data_batch_3.bin"), bytes).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(error.contains("data_batch_3.bin"), "{error}");
        error
    };
    assert!(failed(&whole[1..]).contains("found 6145 bytes"));
    assert!(failed(&[]).contains("found 0 bytes"));
    assert!(failed(&vec![0; RECORD * 10_001]).contains("more than 30730000 bytes"));
    let mut label = whole.clone();
    label[RECORD] = 10;
    assert!(failed(&label).contains("record 1: the label is 10"));
    std::fs::remove_file(at("data_batch_3.bin")).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.contains("data_batch_3.bin") && error.contains("cannot open"), "{error}");
    for spec in ["cifar10", "cifar10:"] {
        let error = Data::open(spec).unwrap_err().to_string();
        assert!(error.contains("folder is missing") && error.contains("cifar10:PATH"), "{error}");
    }
}

/// The crop by its other definition: a padded picture, a window of it, a mirrored window.
fn crop_twin(image: &[f32], [channels, height, width]: [usize; 3], stream: &mut Stream) -> Vec<f32> {
    let (rows, columns) = (height + 2 * BORDER, width + 2 * BORDER);
    let mut padded = vec![0.0; channels * rows * columns];
    for (k, &v) in image.iter().enumerate() {
        let (c, y, x) = (k / (height * width), k / width % height, k % width);
        padded[(c * rows + y + BORDER) * columns + x + BORDER] = v;
    }
    let (top, left) = (stream.below(2 * BORDER + 1), stream.below(2 * BORDER + 1));
    let mirrored = stream.uniform() >= 0.5;
    let mut out = Vec::new();
    for c in 0..channels {
        for y in 0..height {
            let row = &padded[(c * rows + top + y) * columns + left..][..width];
            out.extend(row.iter().copied().take(if mirrored { 0 } else { width }));
            out.extend(row.iter().rev().copied().take(if mirrored { width } else { 0 }));
        }
    }
    out
}

#[test]
fn augmentation_agrees_with_its_twin_and_takes_every_place() {
    for shape in [[3, 32, 32], [2, 5, 3], [1, 1, 1]] {
        let len: usize = shape.iter().product();
        let image: Vec<f32> = (1..=len).map(|v| v as f32).collect();
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            let (mut out, mut stream) = (vec![f32::NAN; len], Stream::new(seed, "augment"));
            crop_and_flip(&image, &shape, &mut stream, &mut out);
            assert_eq!(out, crop_twin(&image, shape, &mut Stream::new(seed, "augment")), "{shape:?}, seed {seed}");
            kinds.insert(out.iter().map(|v| *v as u32).collect::<Vec<_>>());
        }
        if shape == [3, 32, 32] {
            assert_eq!(kinds.len(), 2 * (2 * BORDER + 1).pow(2));
        }
    }
}

/// Where the pixel at (y, x) looks, by one matrix after the other: mirror, turn, zoom, move.
fn place_twin([height, width]: [usize; 2], [y, x]: [usize; 2], stream: &mut Stream) -> [f64; 2] {
    let zoom = ZOOM[0] * (ZOOM[1] / ZOOM[0]).powf(stream.uniform());
    let mut offset = |len: usize| (2.0 * stream.uniform() - 1.0) * (len as f64 - len as f64 / zoom).abs() / 2.0;
    let [dy, dx] = [offset(height), offset(width)];
    let mirrored = stream.uniform() >= 0.5;
    let angle = TURN / 180.0 * std::f64::consts::PI * (2.0 * stream.uniform() - 1.0);
    let [middle_y, middle_x] = [(height - 1) as f64 / 2.0, (width - 1) as f64 / 2.0];
    let [v, mut u] = [y as f64 - middle_y, x as f64 - middle_x];
    if mirrored {
        u = -u;
    }
    let [v, u] = [v * angle.cos() + u * angle.sin(), u * angle.cos() - v * angle.sin()];
    [middle_y + dy + v / zoom, middle_x + dx + u / zoom]
}

/// A plane is interpolated exactly, so every pixel tells the place it was taken from.
#[test]
fn zooming_and_turning_agrees_with_its_twin() {
    for [height, width] in [[32, 32], [5, 9], [1, 1]] {
        let plane = |y: f64, x: f64| (3.0 * y - 2.0 * x + 0.5) as f32;
        let mut image: Vec<f32> = (0..height * width).map(|k| plane((k / width) as f64, (k % width) as f64)).collect();
        image.extend(vec![7.0; height * width]);
        for seed in 0..300 {
            let mut out = vec![f32::NAN; image.len()];
            zoom_flip_rotate(&image, &[2, height, width], &mut Stream::new(seed, "augment"), &mut out);
            for k in 0..height * width {
                let at = place_twin([height, width], [k / width, k % width], &mut Stream::new(seed, "augment"));
                let (y, x) = (at[0].clamp(0.0, (height - 1) as f64), at[1].clamp(0.0, (width - 1) as f64));
                let error = (out[k] - plane(y, x)).abs();
                assert!(error < 1e3 * f32::EPSILON, "{height} × {width}, seed {seed}, pixel {k}: {error}");
            }
            assert!(out[height * width..].iter().all(|v| *v == 7.0));
        }
    }
}

#[test]
fn what_becomes_of_a_sample_depends_on_seed_epoch_and_itself() {
    let data = open(made_up().path()).unwrap().train;
    let gather = |samples: &[u32], seed: u64, epoch: usize| {
        let (mut out, mut labels) = (vec![0.0; samples.len() * 3072], vec![0.0; samples.len()]);
        data.gather_augmented(samples, Augment::ZoomRotate, (seed, epoch), &mut out, &mut labels).unwrap();
        assert!(labels.iter().zip(samples).all(|(l, s)| *l == f32::from(data.labels()[*s as usize])));
        out
    };
    let (there, back) = (gather(&[1, 8, 4], 3, 2), gather(&[4, 8, 1], 3, 2));
    assert_eq!(there[..3072], back[2 * 3072..]);
    assert_eq!(there[3072..2 * 3072], gather(&[8], 3, 2));
    let first = |seed, epoch| gather(&[0, 1, 2, 3, 4, 5], seed, epoch);
    assert!(first(3, 2) != first(3, 3) && first(3, 2) != first(4, 2));
}

#[test]
fn the_real_files_are_read_whole() {
    let Some(folder) = cifar10_or_skip("the_real_files_are_read_whole") else { return };
    let data = open(&folder).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (50_000, 10_000));
    assert_eq!(data.notes.len(), 1, "{:?}", data.notes);
    for (split, each) in [(&data.train, 5000), (&data.test, 1000)] {
        let mut counts = [0; 10];
        split.labels().iter().for_each(|&l| counts[usize::from(l)] += 1);
        assert_eq!(counts, [each; 10]);
    }
    assert_eq!(data.train.labels()[..10], [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
    assert_eq!(data.test.labels()[..10], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]);
    // The published channel means of the training images are 0.4914, 0.4822, 0.4465; 98 images are JPEG copies.
    for (channel, published) in [0.4914, 0.4822, 0.4465].into_iter().enumerate() {
        let planes = data.train.images().unwrap().chunks_exact(1024).skip(channel).step_by(3);
        let mean = planes.flatten().map(|&p| f64::from(p)).sum::<f64>() / (255.0 * 1024.0 * 50_000.0);
        assert!((mean - published).abs() < 1e-4, "channel {channel}: {mean}");
    }
}
