//! CIFAR-10 and CIFAR-100 in all their forms, split by class, and hostile files.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use onebasin_lab::{Data, Dataset};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn open(kind: &str, path: &Path) -> Result<Data, String> {
    Data::open(&format!("{kind}:{}", path.display())).map_err(|e| e.to_string())
}

/// An archive's files in a folder of their own.
fn unpacked(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(GzDecoder::new(std::fs::File::open(golden(name)).unwrap())).unpack(folder.path()).unwrap();
    folder
}

/// One file of an archive.
fn file(archive: &str, name: &str) -> Vec<u8> {
    std::fs::read(unpacked(archive).path().join(name)).unwrap()
}

/// An archive of these files, each with the size its header claims.
fn archive(files: &[(&str, u64, &[u8])]) -> tempfile::NamedTempFile {
    let mut packed = GzEncoder::new(tempfile::NamedTempFile::new().unwrap(), Compression::fast());
    for (name, size, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(*size);
        header.set_cksum();
        packed.write_all(header.as_bytes()).unwrap();
        packed.write_all(bytes).unwrap();
        packed.write_all(&vec![0; bytes.len().next_multiple_of(512) - bytes.len()]).unwrap();
    }
    packed.write_all(&[0; 1024]).unwrap();
    packed.finish().unwrap()
}

const CASES: [(&str, &str, [&str; 2], &str); 2] = [
    ("cifar10", "cifar-10", ["cifar-10-batches-bin", "cifar-10-batches-py"], "data_batch_2"),
    ("cifar100", "cifar-100", ["cifar-100-binary", "cifar-100-python"], "train"),
];

#[test]
fn all_forms_hold_the_same() {
    for (kind, prefix, folders, _) in CASES {
        let same = |path: &Path, expected: &Data| {
            let found = open(kind, path).unwrap();
            assert!(found.train == expected.train && found.test == expected.test, "{}", path.display());
            assert_eq!(found.digest(), expected.digest());
            found.notes
        };
        let expected = open(kind, &golden(&format!("{prefix}-binary.tar.gz"))).unwrap();
        assert!(expected.notes[0].contains("not an official archive"), "{:?}", expected.notes);
        for (form, folder) in [("binary", folders[0]), ("python", folders[1]), ("python3", folders[1])] {
            let name = format!("{prefix}-{form}.tar.gz");
            same(&golden(&name), &expected);
            let outside = unpacked(&name);
            let notes = same(outside.path(), &expected);
            assert_eq!(notes, same(&outside.path().join(folder), &expected));
            let note =
                if form == "binary" { "no digests are published" } else { "by their MD5 not the official files" };
            assert!(notes[0].contains(note), "{notes:?}");
            assert!(notes[1].contains("the official CIFAR-10"), "{notes:?}");
        }
    }
}

#[test]
fn fine_labels_and_pixels_are_where_they_should_be() {
    let data = open("cifar100", &golden("cifar-100-python.tar.gz")).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.train.classes()), (300, 4, 100));
    let expected: Vec<u16> = (0..300).map(|r| 7 * r % 100).collect();
    assert_eq!((data.train.labels(), data.test.labels()), (&expected[..], &[3, 10, 17, 24][..]));
    for (f, split) in [&data.train, &data.test].into_iter().enumerate() {
        for (at, &byte) in split.images().unwrap().iter().enumerate() {
            let (r, k) = (at / 3072, at % 3072);
            assert_eq!(
                byte,
                ((11 * f + 5 * r + 7 * k + 31 * (k / 1024) + k / 32) % 256) as u8,
                "record {r}, pixel {k}"
            );
        }
    }
}

#[test]
fn the_two_parts_are_all_of_it_and_each_is_short_of_one_half() {
    let data = open("cifar100", &golden("cifar-100-binary.tar.gz")).unwrap();
    let images = |set: &Dataset| {
        let mut all: Vec<(u16, Vec<u8>)> =
            set.labels().iter().copied().zip(set.images().unwrap().chunks(3072).map(<[u8]>::to_vec)).collect();
        all.sort();
        all
    };
    let parts = [1, 2].map(|part| data.clone().split_by_class(part, 5).unwrap());
    for (part, few) in parts.iter().zip([|l: u16| l < 50, |l: u16| l >= 50]) {
        let labels = part.train.labels();
        let (scarce, plenty): (Vec<u16>, Vec<u16>) = labels.iter().partition(|&&l| few(l));
        assert_eq!((scarce.len(), plenty.len()), (30, 120));
        assert_eq!(images(&part.test), images(&data.test));
    }
    assert_eq!(parts[0].name, "cifar100 (part 1 of 2, split by class with seed 5)");
    let mut both = images(&parts[0].train);
    both.extend(images(&parts[1].train));
    both.sort();
    assert_eq!(both, images(&data.train));
    assert_eq!(data.clone().split_by_class(1, 5).unwrap(), parts[0]);
    assert_ne!(data.clone().split_by_class(1, 6).unwrap().train, parts[0].train);
    assert!(data.split_by_class(3, 5).unwrap_err().to_string().contains("no part 3"));
}

#[test]
fn digests_tell_data_apart_and_nothing_else() {
    let digits = Data::open("digits").unwrap();
    let small = |train, test| Data { train, test, ..digits.clone() };
    let base = small(digits.train.take(5), digits.test.take(3));
    let renamed = Data { name: "other".to_owned(), notes: vec!["note".to_owned()], ..base.clone() };
    assert_eq!((base.digest().len(), base.digest()), (64, renamed.digest()));
    let (images, labels) = (base.train.images().unwrap(), base.train.labels());
    let with = |shape: &[usize], classes, images: &[u8], labels: &[u16]| {
        small(Dataset::new(shape, classes, images.to_vec(), labels.to_vec()).unwrap(), base.test.clone()).digest()
    };
    assert_eq!(with(&[28, 28], 10, images, labels), base.digest());
    let (mut pixel, mut label) = (images.to_vec(), labels.to_vec());
    (pixel[0], label[0]) = (pixel[0] ^ 1, (label[0] + 1) % 10);
    let scaled = Dataset::new(&[1, 28, 28], 10, images.to_vec(), labels.to_vec()).unwrap();
    let all = [
        base.digest(),
        with(&[784], 10, images, labels),
        with(&[28, 28], 11, images, labels),
        with(&[28, 28], 10, &pixel, labels),
        with(&[28, 28], 10, images, &label),
        small(base.test.clone(), base.train.clone()).digest(),
        with(&[1, 28, 28], 10, images, labels),
        small(scaled.normalised(&[0.5], &[0.5]).unwrap(), base.test.clone()).digest(),
    ];
    let different: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn pickles_that_are_not_of_this_kind_are_refused_and_nothing_is_run() {
    let folder = unpacked("cifar-100-python.tar.gz");
    let path = folder.path().join("cifar-100-python/test");
    let whole = std::fs::read(&path).unwrap();
    let error = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = open("cifar100", folder.path()).unwrap_err();
        assert!(error.contains("cifar-100-python/test"), "{error}");
        error
    };
    let replaced = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|w| w == from).unwrap();
        [&whole[..at], to, &whole[at + from.len()..]].concat()
    };
    assert!(error(&[]).contains("the file ends"));
    assert!(error(b"\x80\x05.").contains("protocol 2, 3 or 4, found 5"));
    assert!(error(b"\x80\x02cos\nsystem\nU\x02ls\x85R.").contains("asks for `os.system`"));
    assert!(error(b"\x80\x04\x8c\x02os\x8c\x06system\x93.").contains("asks for `os.system`"));
    assert!(error(b"\x80\x02(i__main__\nX\n.").contains("opcode 0x69"));
    assert!(error(b"\x80\x02R.").contains("a value is missing"));
    assert!(error(b"\x80\x02}}\x86.").contains("no dictionary"));
    assert!(error(b"\x80\x02}h\x07.").contains("nothing was kept as 7"));
    assert!(error(b"\x80\x02}(K\x01u.").contains("a key without a value"));
    assert!(error(b"\x80\x02T\xff\xff\xff\xff.").contains("4294967295 more bytes"));
    assert!(error(b"\x80\x02}.").contains("expected a list `fine_labels`"));
    assert!(error(&replaced(b"cnumpy\nndarray\n", b"cnumpy\nmatrix\n")).contains("asks for `numpy.matrix`"));
    assert!(error(&replaced(b"U\x02u1", b"U\x02i8")).contains("another element type"));
    assert!(error(&replaced(b"K\x04M\x00\x0c\x86", b"K\x05M\x00\x0c\x86")).contains("5 × 3072 bytes has 12288"));
    assert!(error(&replaced(b"K\x04M\x00\x0c\x86", b"J\xff\xff\xff\xffM\x00\x0c\x86")).contains("two axes"));
    assert!(error(&replaced(b"K\x04M\x00\x0c\x86", b"M\x00\x0cK\x04\x86")).contains("found 3072 of 4 and 4 labels"));
    assert!(error(&replaced(b"(K\x03K\x0aK", b"(K\x64K\x0aK")).contains("entry 0 is 100, not in 0..100"));
    assert!(error(&replaced(b"(K\x03K\x0aK", b"(NK\x0aK")).contains("entry 0 is no number"));
    assert!(error(&replaced(b"(K\x03K\x0aK", b"(K\x0aK")).contains("4 of 3072 and 3 labels"));
    // A text that is encoded again and again would fill memory.
    let again =
        [&b"\x80\x02c_codecs\nencode\nq\x00X\x00\x01\x00\x00"[..], &[b'a'; 256], b"q\x01X\x06\0\0\0latin1q\x02"];
    let bomb = [again.concat(), b"h\x00h\x01h\x02\x86R".repeat(1000)].concat();
    assert!(error(&bomb).contains("again and again"));
    assert!(error(&[&b"\x80\x02"[..], &b"N".repeat((1 << 22) + 1)].concat()).contains("more than"));
    for len in 0..whole.len().min(400) {
        error(&whole[..len]);
    }
    for at in (0..whole.len()).step_by(if whole.len() > 4000 { 97 } else { 1 }).chain(0..200) {
        let mut bytes = whole.clone();
        bytes[at] = bytes[at].wrapping_add(1);
        std::fs::write(&path, bytes).unwrap();
        let _ = open("cifar100", folder.path());
    }
}

#[test]
fn archives_that_are_not_of_this_kind_are_refused() {
    let error = |path: &Path| open("cifar100", path).unwrap_err();
    let (train, test) = (file("cifar-100-binary.tar.gz", "cifar-100-binary/train.bin"), vec![3; 3074]);
    let of = |name: &'static str, bytes| -> (&'static str, u64, &[u8]) { (name, <[u8]>::len(bytes) as u64, bytes) };
    let (train, test) = (of("cifar-100-binary/train.bin", &train), of("cifar-100-binary/test.bin", &test));
    let good = archive(&[test, train]);
    assert_eq!(open("cifar100", good.path()).unwrap().test.labels(), [3]);
    assert!(error(archive(&[test]).path()).contains("`cifar-100-binary/train.bin` is missing"));
    assert!(error(archive(&[train, test, test]).path()).contains("test.bin: stands in the archive twice"));
    for name in
        ["../cifar-100-binary/test.bin", "/cifar-100-binary/test.bin", "cifar-100-binary/../test.bin", "test.bin"]
    {
        assert!(error(archive(&[train, of(name, test.2)]).path()).contains("test.bin` is missing"), "{name}");
    }
    let absurd = |size| archive(&[train, ("cifar-100-binary/test.bin", size, test.2)]);
    assert!(error(absurd(u64::MAX / 2).path()).contains("test.bin"), "{}", error(absurd(u64::MAX / 2).path()));
    assert!(error(absurd(1 << 40).path()).contains("test.bin"), "{}", error(absurd(1 << 40).path()));
    assert!(error(absurd(0).path()).contains("found 0 bytes"));
    assert!(error(&golden("cifar-10-binary.tar.gz")).contains("is it an archive of CIFAR-100?"));
    assert!(error(&golden("cifar.py")).contains("gzipped tar archive"));
    let mut whole = Vec::new();
    std::fs::File::open(golden("cifar-100-binary.tar.gz")).unwrap().read_to_end(&mut whole).unwrap();
    let mut cut = tempfile::NamedTempFile::new().unwrap();
    cut.write_all(&whole[..whole.len() / 2]).unwrap();
    assert!(error(cut.path()).contains("cannot be read"), "{}", error(cut.path()));
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_path("cifar-100-binary/test.bin").unwrap();
    link.set_link_name("/etc/passwd").unwrap();
    link.set_size(0);
    link.set_cksum();
    let mut packed = GzEncoder::new(tempfile::NamedTempFile::new().unwrap(), Compression::fast());
    packed.write_all(link.as_bytes()).unwrap();
    packed.write_all(&[0; 1024]).unwrap();
    assert!(error(packed.finish().unwrap().path()).contains("found none"));
}

#[test]
fn folders_without_such_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, _, folders, name) in CASES {
        let error = open(kind, folder.path()).unwrap_err();
        assert!(folders.iter().all(|f| error.contains(f)) && error.contains("found neither"), "{error}");
        std::fs::create_dir(folder.path().join(folders[0])).unwrap();
        std::fs::write(folder.path().join(folders[0]).join(format!("{name}.bin")), [0; 10]).unwrap();
        let error = open(kind, folder.path()).unwrap_err();
        assert!(error.contains(".bin"), "{error}");
    }
}
