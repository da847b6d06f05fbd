//! Photographs in files, and images in other sizes, against Pillow; folders that are not what they should be.

use std::path::{Path, PathBuf};

use onebasin_lab::data::Augment;
use onebasin_lab::{Data, Dataset, Error, TrainOptions, TrainState, train};
use onebasin_nn::exec::Program;
use onebasin_nn::task::Classes;
use onebasin_nn::{Network, Samples, evaluate};
use proptest::prelude::*;
use safetensors::SafeTensors;

const GOLDEN: &[u8] = include_bytes!("../goldens/photographs.safetensors");
const PIXELS: usize = 3 * 224 * 224;

fn photographs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/photographs")
}

fn open(folder: &Path) -> Result<Data, String> {
    Data::open(&format!("imagenet:{}", folder.display())).map_err(|e| e.to_string())
}

/// Three classes with the photographs spread over them in both splits, and files that are none.
fn made_up() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for split in ["train", "val"] {
        for (k, file) in std::fs::read_dir(photographs()).unwrap().map(|e| e.unwrap().path()).enumerate() {
            let class = folder.path().join(split).join(["n02", "n01", "n10"][k % 3]);
            std::fs::create_dir_all(&class).unwrap();
            std::fs::copy(&file, class.join(file.file_name().unwrap())).unwrap();
        }
        std::fs::write(folder.path().join(split).join("readme.txt"), "no class").unwrap();
        std::fs::write(folder.path().join(split).join("n01/notes.txt"), "no image").unwrap();
    }
    folder
}

/// One photograph as bytes, from what a network sees of it.
fn seen(folder: &Path) -> Vec<u8> {
    let data = open(folder).unwrap().test;
    let mut out = vec![f32::NAN; PIXELS];
    data.fill(0, 0..1, &mut out).unwrap();
    let byte = |(k, v): (usize, &f32)| {
        let (mean, std) = ([0.485, 0.456, 0.406][k / (224 * 224)], [0.229, 0.224, 0.225][k / (224 * 224)]);
        (255.0 * (f64::from(*v) * std + mean)).round() as u8
    };
    out.iter().enumerate().map(byte).collect()
}

/// A folder whose only photograph has these bytes.
fn only(bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for split in ["train", "val"] {
        std::fs::create_dir_all(folder.path().join(split).join("one")).unwrap();
        std::fs::write(folder.path().join(split).join("one/image.jpeg"), bytes).unwrap();
    }
    folder
}

#[test]
fn evaluation_sees_what_torchvision_shows() {
    let golden = SafeTensors::deserialize(GOLDEN).unwrap();
    for entry in std::fs::read_dir(photographs()).unwrap() {
        let path = entry.unwrap().path();
        let expected = golden.tensor(path.file_name().unwrap().to_str().unwrap()).unwrap();
        let found = seen(only(&std::fs::read(&path).unwrap()).path());
        let found = (0..3 * 32 * 32).map(|k| found[(k / 1024) * 224 * 224 + 7 * (k / 32 % 32) * 224 + 7 * (k % 32)]);
        let off: Vec<u8> = found.zip(expected.data()).map(|(f, &e)| f.abs_diff(e)).collect();
        let (most, sum) = (off.iter().max().unwrap(), off.iter().map(|&o| u32::from(o)).sum::<u32>());
        let mean = f64::from(sum) / off.len() as f64;
        // Decoders round the cosine transform, colours and halved chrominances differently.
        assert!(*most <= 4 && mean < 0.5, "{}: {most} levels at most, {mean} on average", path.display());
    }
}

#[test]
fn images_are_resized_as_pillow_does() {
    let golden = SafeTensors::deserialize(GOLDEN).unwrap();
    let mut names: Vec<&str> = golden.names().into_iter().filter(|n| n.ends_with("/from")).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 6);
    for name in names {
        let (from, to) = (golden.tensor(name).unwrap(), golden.tensor(&name.replace("/from", "/to")).unwrap());
        let data = Dataset::new(from.shape(), 1, from.data().to_vec(), vec![0]).unwrap();
        let found = data.resized(to.shape()[0], to.shape()[1]).unwrap();
        assert_eq!((found.shape(), found.images().unwrap()), (to.shape(), to.data()), "{name}");
    }
}

/// Resizes one axis by its definition: the mean of the input under a triangle as wide as two input or two output pixels.
fn axis_twin(line: &[f64], to: usize) -> Vec<f64> {
    let scale = line.len() as f64 / to as f64;
    let value = |i: usize| {
        let centre = (i as f64 + 0.5) * scale - 0.5;
        let weight = |k: usize| (1.0 - (k as f64 - centre).abs() / scale.max(1.0)).max(0.0);
        let total: f64 = (0..line.len()).map(weight).sum();
        line.iter().enumerate().map(|(k, v)| weight(k) * v).sum::<f64>() / total
    };
    (0..to).map(value).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn resizing_agrees_with_its_twin(
        [height, width, tall, wide] in [1_usize..20, 1_usize..20, 1_usize..25, 1_usize..25],
        channels in 1_usize..4,
        seed: u64,
    ) {
        let mut stream = onebasin_core::stream::Stream::new(seed, "pixels");
        let images: Vec<u8> = (0..2 * channels * height * width).map(|_| stream.bits() as u8).collect();
        let data = Dataset::new(&[channels, height, width], 1, images.clone(), vec![0; 2]).unwrap();
        let found = data.resized(tall, wide).unwrap();
        prop_assert_eq!(found.shape(), [channels, tall, wide]);
        let found = found.images().unwrap();
        for (plane, found) in images.chunks(height * width).zip(found.chunks(tall * wide)) {
            let rows: Vec<Vec<f64>> = plane
                .chunks(width)
                .map(|row| axis_twin(&row.iter().map(|&p| f64::from(p)).collect::<Vec<_>>(), wide))
                .collect();
            for x in 0..wide {
                let column: Vec<f64> = rows.iter().map(|row| row[x]).collect();
                for (y, expected) in axis_twin(&column, tall).into_iter().enumerate() {
                    // Two roundings of half a level each, and weights of 22 bits.
                    prop_assert!((f64::from(found[y * wide + x]) - expected).abs() <= 1.0 + 1e-3);
                }
            }
        }
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let data = Dataset::new(&[2, 2], 1, vec![7; 8], vec![0; 2]).unwrap();
    assert_eq!(data.resized(2, 2).unwrap(), data);
    for (height, width) in [(0, 3), (3, 0), (usize::MAX, 2), (1 << 20, 1 << 20)] {
        assert!(data.resized(height, width).is_err());
    }
    assert!(Dataset::new(&[4], 1, vec![7; 8], vec![0; 2]).unwrap().resized(3, 3).is_err());
    assert!(open(made_up().path()).unwrap().train.resized(32, 32).unwrap_err().to_string().contains("in memory"));
    let digits = Data::open("digits@32").unwrap();
    assert_eq!((&*digits.name, digits.train.shape(), digits.test.shape()), ("digits@32", &[32, 32][..], &[32, 32][..]));
    assert!(Data::open("digits@0").is_err() && Data::open("digits@x").is_err() && Data::open("digits@").is_err());
}

#[test]
fn mnist_in_another_size_fits_vgg() {
    let folder = tempfile::tempdir().unwrap();
    for (split, count) in [("train", 3_u8), ("t10k", 2)] {
        let write = |name: &str, header: &[u8], bytes: Vec<u8>| {
            let header =
                [&[0, 0, 8, header.len() as u8][..], &header.iter().flat_map(|&n| [0, 0, 0, n]).collect::<Vec<_>>()];
            std::fs::write(folder.path().join(format!("{split}-{name}-ubyte")), [header.concat(), bytes].concat())
                .unwrap();
        };
        let pixel = |k: usize| (k / 28 * 9 + k % 28 * 3) as u8;
        write("images-idx3", &[count, 28, 28], (0..usize::from(count) * 784).map(pixel).collect());
        write("labels-idx1", &[count], (0..count).collect());
    }
    let open = |side: &str| Data::open(&format!("mnist:{}{side}", folder.path().display())).unwrap();
    let (plain, data) = (open(""), open("@32"));
    assert_eq!((&*data.name, data.train.shape(), data.train.len()), ("mnist@32", &[32, 32][..], 3));
    assert_eq!(data.train.images(), plain.train.resized(32, 32).unwrap().images());
    assert_eq!((data.test.labels(), &data.notes), (plain.test.labels(), &plain.notes));
    assert_eq!(open("@28").train.images(), plain.train.images());
    let network = Network::new("vgg16-ln:0.25", data.train.shape(), data.train.classes()).unwrap();
    data.train.check_fits(&network).unwrap();
}

#[test]
fn folders_are_classes_in_the_order_of_their_names() {
    let folder = made_up();
    let data = open(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.train.classes()), (8, 8, 3));
    assert_eq!((&*data.name, data.train.shape(), data.train.images()), ("imagenet", &[3, 224, 224][..], None));
    assert!(data.notes[0].contains("8 + 8 images of 3 classes"), "{:?}", data.notes);
    let mut counts = [0; 3];
    data.train.labels().iter().for_each(|&l| counts[usize::from(l)] += 1);
    assert_eq!(counts, [3, 3, 2]);

    let (mut out, mut labels) = (vec![0.0; 2 * PIXELS], [9.0; 2]);
    data.train.gather(&[5, 2], &mut out, &mut labels).unwrap();
    let mut one = vec![0.0; PIXELS];
    data.train.fill(0, 2..3, &mut one).unwrap();
    assert_eq!((&out[PIXELS..], labels), (&one[..], [5, 2].map(|s: usize| f32::from(data.train.labels()[s]))));
    data.train.pick(&[5, 2]).fill(0, 1..2, &mut out[..PIXELS]).unwrap();
    assert_eq!(out[..PIXELS], one);
    assert_eq!((data.train.take(3).len(), data.train.take(3).labels()), (3, &data.train.labels()[..3]));
}

#[test]
fn parts_depend_on_seed_epoch_and_photograph() {
    let folder = made_up();
    let data = open(folder.path()).unwrap().train;
    let gather = |samples: &[u32], seed: u64, epoch: usize| {
        let (mut out, mut labels) = (vec![f32::NAN; samples.len() * PIXELS], vec![0.0; samples.len()]);
        data.gather_augmented(samples, Augment::CropFlip, (seed, epoch), &mut out, &mut labels).unwrap();
        assert!(labels.iter().zip(samples).all(|(l, s)| *l == f32::from(data.labels()[*s as usize])));
        assert!(out.iter().all(|v| (-2.2..2.7).contains(v)));
        out
    };
    let (there, back) = (gather(&[1, 4], 3, 2), gather(&[4, 1], 3, 2));
    assert!(there[..PIXELS] == back[PIXELS..] && there[PIXELS..] == back[..PIXELS]);
    assert!(there[..PIXELS] == gather(&[1], 3, 2));
    assert!(there[..PIXELS] != gather(&[1], 3, 3) && there[..PIXELS] != gather(&[1], 4, 2));
}

#[test]
fn broken_photographs_are_named() {
    let error = |bytes: &[u8]| {
        let folder = only(bytes);
        let data = open(folder.path()).unwrap();
        let (mut out, mut labels) = (vec![0.0; PIXELS], [0.0]);
        let error = data.test.fill(0, 0..1, &mut out).unwrap_err().to_string();
        assert!(error.contains("image.jpeg"), "{error}");
        assert!(data.train.gather(&[0], &mut out, &mut labels).is_err());
        assert!(data.train.gather_augmented(&[0], Augment::CropFlip, (0, 1), &mut out, &mut labels).is_err());
        error
    };
    assert!(error(b"").contains("cannot be decoded"));
    assert!(error(b"no JPEG at all").contains("cannot be decoded"));
    assert!(error(b"\x89PNG\r\n\x1a\n").contains("found a PNG"));
    for name in ["halved.JPEG", "progressive.jpg", "cmyk.jpeg"] {
        let whole = std::fs::read(photographs().join(name)).unwrap();
        for len in [whole.len() - 2, whole.len() / 2, 700, 200, 20, 3] {
            error(&whole[..len]);
        }
        let size = whole.windows(2).position(|w| w[0] == 0xff && matches!(w[1], 0xc0 | 0xc2)).unwrap() + 5;
        let mut huge = whole.clone();
        huge[size..size + 4].copy_from_slice(&[0xff; 4]);
        assert!(error(&huge).contains("found 65535 × 65535"));
    }
}

#[test]
fn networks_run_on_photographs_and_a_broken_one_ends_it() {
    let folder = made_up();
    let data = open(folder.path()).unwrap();
    let network = Network::new("mlp:4", data.train.shape(), data.train.classes()).unwrap();
    let options = TrainOptions { epochs: 1, batch: 4, augment: Some(Augment::CropFlip), ..TrainOptions::default() };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let start = TrainState::fresh(&network, 0)?;
            let trained = train(&network.graph().unwrap(), &data.train, &start, &options, &mut |_| true)?.params;
            let program = Program::new(network.graph()?)?;
            let metrics = evaluate(&program, &trained, &data.test, &Classes)?;
            Ok::<_, Error>((trained, metrics))
        })
    };
    assert_eq!(run(1).unwrap(), run(3).unwrap());
    for split in ["val", "train"] {
        std::fs::write(folder.path().join(split).join("n01/broken.jpeg"), b"nothing").unwrap();
        let data = open(folder.path()).unwrap();
        let start = TrainState::fresh(&network, 0).unwrap();
        let program = Program::new(network.graph().unwrap()).unwrap();
        let error = match split {
            "val" => evaluate(&program, &start.params, &data.test, &Classes).unwrap_err().into(),
            _ => train(&network.graph().unwrap(), &data.train, &start, &options, &mut |_| true).unwrap_err(),
        };
        assert!(error.to_string().contains("broken.jpeg"), "{error}");
    }
}

/// Whatever bytes a photograph has, it is decoded or refused.
#[test]
fn damaged_photographs_do_no_harm() {
    let mut stream = onebasin_core::stream::Stream::new(0, "damage");
    let mut out = vec![0.0; PIXELS];
    for name in ["small.jpeg", "grey.Jpg", "cmyk.jpeg", "progressive.jpg"] {
        let whole = std::fs::read(photographs().join(name)).unwrap();
        for _ in 0..40 {
            let mut bytes = whole.clone();
            for _ in 0..=stream.below(8) {
                let end = if stream.below(2) == 0 { 700 } else { bytes.len() };
                let at = stream.below(end);
                bytes[at] = stream.bits() as u8;
            }
            let _ = open(only(&bytes).path()).unwrap().test.fill(0, 0..1, &mut out);
        }
    }
}

#[test]
fn folders_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = || open(folder.path()).unwrap_err();
    let make = |name: &str| std::fs::create_dir_all(folder.path().join(name)).unwrap();
    assert!(error().contains("train") && error().contains("cannot be listed"), "{}", error());
    make("train");
    make("val");
    assert!(error().contains("one folder of JPEGs per class"), "{}", error());
    ["train/a", "train/b", "val/a", "val/c"].into_iter().for_each(make);
    assert!(error().contains("found only in one of them b, c"), "{}", error());
    ["train/c", "val/b"].into_iter().for_each(make);
    assert!(error().contains("train/a") && error().contains("found none"), "{}", error());
}
