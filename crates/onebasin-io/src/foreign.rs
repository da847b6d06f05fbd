//! Files that are no checkpoints but are given as such, recognised by their first bytes.

use std::path::Path;

use crate::archive::{Entry, entries};

/// What a file is instead of a checkpoint.
#[derive(Debug)]
pub(crate) struct Foreign {
    /// With its article.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: &'static str,
}

const CONVERT: &str = "load it with the library that wrote it and save its weights as safetensors";

/// Beginnings, where in the file they are, what such a file is, and what to do.
const SIGNATURES: [(usize, &[u8], &str, &str); 17] = [
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "a pointer of Git LFS, not the file itself",
        "fetch the file with `git lfs pull`, or download it again",
    ),
    (0, b"GGUF", "a GGUF model", "start from the checkpoint that it was converted from"),
    (0, b"lmgg", "a GGML model", "start from the checkpoint that it was converted from"),
    (0, b"tjgg", "a GGML model", "start from the checkpoint that it was converted from"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it (.h5)", CONVERT),
    (4, b"ORTM", "a model in ONNX Runtime's own format (.ort)", "give the ONNX model that it was made from"),
    (4, b"TFL3", "a TensorFlow Lite model", CONVERT),
    (0, b"\x1f\x8b", "compressed by gzip", "unpack it first"),
    (0, b"\xfd7zXZ\0", "compressed by xz", "unpack it first"),
    (0, b"BZh", "compressed by bzip2", "unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip", "unpack it first"),
    (0, b"Rar!", "an archive of RAR", "unpack it first"),
    (0, b"%PDF", "a PDF document", "name the file of the checkpoint"),
    (0, b"\x89PNG", "an image", "name the file of the checkpoint"),
    (0, b"\x7fELF", "a program or a library", "name the file of the checkpoint"),
    (0, b"#!", "a script", "name the file of the checkpoint"),
];

/// What the file is, if it is something that is known and no checkpoint.
///
/// Cost: that of the first bytes; of a zip archive, its directory; of an ONNX model, its outermost fields.
pub(crate) fn recognise(bytes: &[u8], path: &Path) -> Option<Foreign> {
    let found = |what: &str, remedy| Some(Foreign { what: what.to_owned(), remedy });
    let signature = SIGNATURES.iter().find(|(at, start, ..)| bytes.get(*at..).is_some_and(|b| b.starts_with(start)));
    if let Some((_, _, what, remedy)) = signature {
        return found(what, remedy);
    }
    if bytes.starts_with(b"PK") {
        return entries(bytes).ok().and_then(|entries| zipped(&entries));
    }
    if bytes.ends_with(b"\x57\xfb\x80\x8b\x24\x75\x47\xdb") {
        return found("the index of a TensorFlow checkpoint", CONVERT);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.contains(".ckpt.data-") {
        return found("the data of a TensorFlow checkpoint", CONVERT);
    }
    if is_onnx(bytes) {
        return found("an ONNX model", "give it where a model or a graph is asked for");
    }
    if is_saved_model(bytes) {
        return found("a TensorFlow model (.pb)", CONVERT);
    }
    let text = bytes[..bytes.len().min(64)].trim_ascii_start().to_ascii_lowercase();
    let starts = |with: &[&str]| with.iter().any(|with| text.starts_with(with.as_bytes()));
    if starts(&["<!doctype", "<html", "<?xml", "<head", "<error"]) {
        return found("a page of the web, probably an error of the server", "download the file again");
    }
    let json = |open: u8, next: &[u8]| {
        text.first() == Some(&open) && text[1..].trim_ascii_start().first().is_some_and(|byte| next.contains(byte))
    };
    if json(b'{', b"\"}") || json(b'[', b"\"{[]0123456789") {
        let remedy = "name the file of the checkpoint, or an index of shards ending in .json";
        return found("JSON, not a checkpoint", remedy);
    }
    None
}

/// What a zip archive is that holds neither what torch saves nor arrays of NumPy.
fn zipped(entries: &[Entry]) -> Option<Foreign> {
    const SHOWN: usize = 3;
    let ends = |end: &[u8]| entries.iter().any(|entry| entry.name.ends_with(end));
    if [&b"data.pkl"[..], b".npy", b".pth"].iter().any(|end| ends(end)) {
        return None;
    }
    let found = |what: &str, remedy| Some(Foreign { what: what.to_owned(), remedy });
    if ends(b"archive_format") || ends(b"serialized_exported_program.json") {
        return found("a program of torch.export (.pt2)", "save the state_dict of the module with torch.save instead");
    }
    if ends(b".weights.h5") {
        return found("a Keras model (.keras)", CONVERT);
    }
    let mut names: Vec<String> =
        entries.iter().take(SHOWN).map(|e| String::from_utf8_lossy(&e.name).into_owned()).collect();
    if entries.len() > SHOWN {
        names.push("…".to_owned());
    }
    let holds = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Some(Foreign {
        what: format!("a zip archive without a checkpoint (it holds {holds})"),
        remedy: "unpack it and name the file of the checkpoint",
    })
}

/// Whether bytes are an ONNX model, whatever the file is called: the outermost fields are those of a `ModelProto`, and a
/// graph is among them.
///
/// A model that is cut short still counts as one, so that it can be refused as what it is.
///
/// Cost: that of the outermost fields; nothing in them is looked at.
///
/// ```
/// assert!(onebasin_io::is_onnx(&std::fs::read("tests/goldens/raw.onnx")?));
/// assert!(!onebasin_io::is_onnx(&std::fs::read("tests/goldens/zip.pt")?));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_onnx(bytes: &[u8]) -> bool {
    const VARINT: u64 = 0;
    const LENGTH: u64 = 2;
    let (mut version, mut graph) = (false, false);
    let fits = fields(bytes, |number, kind| {
        version |= matches!(number, 1 | 8);
        graph |= number == 7;
        match number {
            1 | 5 => kind == VARINT,
            2..=4 | 6..=8 | 14 | 20 | 25 | 26 => kind == LENGTH,
            // Fields of versions to come.
            _ => number > 8,
        }
    });
    fits && version && graph
}

/// Whether the outermost fields are those of TensorFlow's `SavedModel`, or of a frozen graph: nodes, and what stands
/// beside them.
fn is_saved_model(bytes: &[u8]) -> bool {
    let mut seen = [0; 5];
    let fits = fields(bytes, |number, kind| {
        if let Some(count) = seen.get_mut(number as usize) {
            *count += usize::from(kind == 2);
        }
        matches!((number, kind), (1, 0 | 2) | (2 | 4, 2) | (3, 0))
    });
    fits && (seen[2] > 0 || seen[1] > 1) && seen[1] + seen[2] + seen[4] > 0 && bytes.len() > 64
}

/// Walks the outermost fields of a message as long as `fits` accepts their number and kind; whether it did to the end.
fn fields(bytes: &[u8], mut fits: impl FnMut(u64, u64) -> bool) -> bool {
    let mut at = 0;
    let varint = |at: &mut usize| {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *bytes.get(*at)?;
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    };
    let mut any = false;
    while at < bytes.len() {
        let Some(tag) = varint(&mut at) else { return false };
        if !fits(tag >> 3, tag & 7) {
            return false;
        }
        any = true;
        let step = match tag & 7 {
            0 => varint(&mut at).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut at),
            5 => Some(4),
            _ => return false,
        };
        let Some(step) = step else { return false };
        // A length beyond the end ends the walk: the file is cut short.
        at = usize::try_from(step).ok().and_then(|step| at.checked_add(step)).unwrap_or(usize::MAX);
    }
    any
}
