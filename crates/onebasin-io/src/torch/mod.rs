//! Reading what `torch.save` writes: zip archives, and the streams and tar files of earlier versions.
//!
//! The pickle is data ([`pickle`]): what it says of tensors and of the maps around them is understood ([`tensor`], [`tree`]),
//! all else is passed over, and nothing is called. Tensors stay in the memory map where their elements lie in order.

mod pickle;
mod tar;
mod tensor;
mod tree;

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use onebasin_core::DType;

use self::pickle::{Pickle, Value};
use self::tensor::{StoragePlan, TensorPlan};
use self::tree::TorchTree;
use crate::archive::{Archive, Entry};
use crate::format::check_claim;
use crate::parts::{Branch, Tree};

/// Values of a pickle that are believed whatever the length of the file.
const VALUES: usize = 1 << 20;
/// What the pickle stream of versions before 1.6 starts with, as a number.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// A file of torch whose pickle was read.
pub(crate) struct TorchFile {
    storages: Storages,
    length: u64,
}

/// A tensor of the file that was not read yet.
pub(crate) struct TorchTensor(TensorPlan);

/// A tensor that was read.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Bytes,
}

/// Where elements lie.
enum Storages {
    /// Entries of an archive, below this name.
    Entries { archive: Archive, folder: Vec<u8>, big_endian: bool },
    /// Stretches of the file, by key.
    Stretches(HashMap<String, Bytes>),
}

/// Opens a file and gives the tree of its tensors.
///
/// # Errors
/// Says what is missing, or what the file holds instead of tensors.
pub(crate) fn open(bytes: &Bytes) -> Result<(TorchFile, Branch<TorchTensor>), String> {
    open_within(bytes, bytes.len())
}

/// Opens what is all or a part of a file of `length` bytes.
fn open_within(bytes: &Bytes, length: usize) -> Result<(TorchFile, Branch<TorchTensor>), String> {
    let limit = VALUES + length;
    let (text, storages) = match bytes.get(..2) {
        Some(b"PK") => {
            let archive = Archive::open(bytes).map_err(|why| format!("zip archive: {why}"))?;
            return open_archive(archive, length);
        }
        _ if tar::is_tar(bytes) => {
            let (text, tensors, storages) = tar::open(bytes, limit)?;
            let mut pickle = Pickle::walk(&text, limit)?;
            pickle.tensors = tensors;
            return finish(&pickle, Storages::Stretches(storages), length);
        }
        Some([0x80, _]) => (bytes.clone(), HashMap::new()),
        _ => return Err("it is neither a zip archive, nor a pickle, nor a tar archive".to_owned()),
    };
    let first = Pickle::walk(&text, limit)?;
    if !matches!(first.get(first.root), Value::Bytes(number) if *number == MAGIC) {
        return finish(&first, Storages::Stretches(storages), length);
    }
    // Behind the number: the version, facts about the machine, the pickle, the keys of storages, and these.
    let mut at = first.length;
    for _ in 0..2 {
        at += Pickle::walk(&bytes[at..], limit)?.length;
    }
    let pickle = Pickle::walk(&bytes[at..], limit)?;
    at += pickle.length;
    let keys = Pickle::walk(&bytes[at..], limit)?;
    at += keys.length;
    let mut elements = HashMap::new();
    for value in &pickle.values {
        if let Value::Kept(kept) = value
            && let Some(storage) = StoragePlan::of(&pickle, *kept)
        {
            elements.insert(storage.key, storage.element);
        }
    }
    let mut stretches = HashMap::new();
    for key in keys.items(keys.root).ok_or("the list of its storages is missing")? {
        let key = keys.key(*key).ok_or("the key of a storage is no text")?;
        let short = || format!("storage {key} is cut short");
        let count = bytes.get(at..at + 8).ok_or_else(short)?;
        let count = u64::from_le_bytes(count.try_into().expect("8 bytes"));
        let element = elements.get(&key).copied().flatten();
        let element = element.ok_or_else(|| format!("storage {key} has elements of an unknown size"))?;
        let end = usize::try_from(count).ok().and_then(|count| count.checked_mul(element)?.checked_add(at + 8));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(short)?;
        stretches.insert(key, bytes.slice(at + 8..end));
        at = end;
    }
    finish(&pickle, Storages::Stretches(stretches), length)
}

fn open_archive(archive: Archive, length: usize) -> Result<(TorchFile, Branch<TorchTensor>), String> {
    const PICKLE: &[u8] = b"data.pkl";
    let folders = archive.entries.iter().filter_map(|entry| entry.name.strip_suffix(PICKLE));
    let folder = folders.filter(|f| f.is_empty() || f.ends_with(b"/")).min_by_key(|f| f.len()).map(<[u8]>::to_vec);
    let Some(folder) = folder else { return open_inner(&archive, length) };
    let entry = |name: &[u8]| archive.find(&[&folder, name].concat());
    let named = |why| format!("entry data.pkl: {why}");
    let pickle = entry(PICKLE).ok_or("it has no entry data.pkl")?;
    check_claim(pickle.size, length as u64).map_err(named)?;
    let text = archive.read(pickle).map_err(named)?;
    let big_endian = match entry(b"byteorder").filter(|entry| entry.size < 64).map(|entry| archive.read(entry)) {
        Some(order) => order?.trim_ascii() == b"big",
        None => false,
    };
    let pickle = Pickle::walk(&text, VALUES + length)?;
    let found = finish(&pickle, Storages::Stretches(HashMap::new()), length);
    let (file, tree) = found.map_err(|why| {
        let script = archive.entries.iter().any(|entry| entry.name.starts_with(&[&folder, &b"code/"[..]].concat()));
        if script { format!("{why}; it is TorchScript, so save the state_dict of the module instead") } else { why }
    })?;
    Ok((TorchFile { storages: Storages::Entries { archive, folder, big_endian }, ..file }, tree))
}

/// Opens the network in an archive of several files of torch, as Stable-Baselines3 writes them.
fn open_inner(archive: &Archive, length: usize) -> Result<(TorchFile, Branch<TorchTensor>), String> {
    const POLICY: &[u8] = b"policy.pth";
    let networks = |entry: &&Entry| {
        let is_network = entry.name.ends_with(b".pth") && !entry.name.windows(5).any(|word| word == b"optim");
        is_network && entry.name != b"pytorch_variables.pth"
    };
    let networks: Vec<&Entry> = archive.entries.iter().filter(networks).collect();
    let entry = match (archive.find(POLICY), &networks[..]) {
        (Some(policy), _) => policy,
        (None, [only]) => only,
        (None, several) => {
            let names: Vec<_> = several.iter().map(|entry| String::from_utf8_lossy(&entry.name)).collect();
            return Err(format!("it has no entry data.pkl, but {}; unpack it and name one of them", names.join(", ")));
        }
    };
    let named = |why| format!("entry {}: {why}", String::from_utf8_lossy(&entry.name));
    check_claim(entry.size, length as u64).map_err(named)?;
    let bytes = archive.read(entry).map_err(named)?;
    if Archive::open(&bytes).is_ok_and(|inner| !inner.entries.iter().any(|entry| entry.name.ends_with(b"data.pkl"))) {
        return Err(named("it has no entry data.pkl".to_owned()));
    }
    open_within(&bytes, length).map_err(named)
}

fn finish(pickle: &Pickle<'_>, storages: Storages, length: usize) -> Result<(TorchFile, Branch<TorchTensor>), String> {
    let tree = match TorchTree::of(pickle)? {
        None => return Err(no_tensors(pickle)),
        Some(Tree::Map(branch)) => branch,
        Some(Tree::Tensor(_)) => return Err("a lone tensor has no name; save it in a dict: {NAME: tensor}".to_owned()),
        Some(Tree::Unusable(why)) => return Err(format!("it is {why}")),
    };
    Ok((TorchFile { storages, length: length as u64 }, planned(tree)))
}

fn planned(branch: Branch<TensorPlan>) -> Branch<TorchTensor> {
    let entry = |(name, tree)| {
        let tree = match tree {
            Tree::Tensor(plan) => Tree::Tensor(TorchTensor(plan)),
            Tree::Unusable(why) => Tree::Unusable(why),
            Tree::Map(branch) => Tree::Map(planned(branch)),
        };
        (name, tree)
    };
    Branch { kind: branch.kind, entries: branch.entries.into_iter().map(entry).collect(), settings: branch.settings }
}

impl TorchFile {
    /// Reads tensors. Each storage is looked up, and its checksum checked, once.
    ///
    /// # Errors
    /// If they claim far more memory than the file has bytes, or a storage is missing or too short.
    pub(crate) fn read(&self, tensors: Vec<(String, TorchTensor)>) -> Result<Vec<Found>, String> {
        let claimed = tensors.iter().map(|(_, t)| t.0.len().map_or(u64::MAX, |len| len as u64));
        check_claim(claimed.fold(0, u64::saturating_add), self.length)?;
        let keys: BTreeSet<&str> = tensors.iter().map(|(_, tensor)| tensor.0.key.as_str()).collect();
        let packed = keys.iter().filter_map(|key| self.storages.packed(key)).fold(0, u64::saturating_add);
        check_claim(packed, self.length)?;
        let mut storages: HashMap<String, Bytes> = HashMap::new();
        let mut found = Vec::with_capacity(tensors.len());
        for (name, TorchTensor(plan)) in tensors {
            let named = |why: String| format!("tensor `{name}`: {why}");
            let data = if plan.len() == Some(0) {
                Bytes::new()
            } else {
                let storage = match storages.get(&plan.key) {
                    Some(storage) => storage.clone(),
                    None => self.storages.get(&plan.key).map_err(named)?,
                };
                let data = plan.read(&storage, self.storages.are_big_endian()).map_err(named)?;
                storages.insert(plan.key, storage);
                data
            };
            found.push(Found { name, dtype: plan.dtype, shape: plan.shape, data });
        }
        Ok(found)
    }
}

impl Storages {
    fn are_big_endian(&self) -> bool {
        matches!(self, Self::Entries { big_endian: true, .. })
    }

    /// Bytes that a storage claims.
    fn packed(&self, key: &str) -> Option<u64> {
        match self {
            Self::Entries { archive, folder, .. } => archive.find(&Self::entry(folder, key)).map(|entry| entry.size),
            Self::Stretches(stretches) => stretches.get(key).map(|bytes| bytes.len() as u64),
        }
    }

    fn get(&self, key: &str) -> Result<Bytes, String> {
        match self {
            Self::Entries { archive, folder, .. } => {
                let entry = archive.find(&Self::entry(folder, key));
                let entry = entry.ok_or_else(|| format!("its storage data/{key} is not in the archive"))?;
                archive.read(entry).map_err(|why| format!("storage data/{key}: {why}"))
            }
            Self::Stretches(stretches) => {
                stretches.get(key).cloned().ok_or_else(|| format!("its storage {key} is not in the file"))
            }
        }
    }

    fn entry(folder: &[u8], key: &str) -> Vec<u8> {
        [folder, b"data/", key.as_bytes()].concat()
    }
}

/// Why there is nothing to read, with the names of whatever the pickle would have had Python call.
fn no_tensors(pickle: &Pickle<'_>) -> String {
    const NAMES: usize = 8;
    if TorchTree::is_deep(pickle) {
        return "it holds no tensors, as far as its nesting is looked into".to_owned();
    }
    let called = pickle.values.iter().filter_map(|value| match value {
        Value::Call(call) => pickle.name(call.callee),
        _ => None,
    });
    let names: BTreeSet<String> = called.map(|(module, name)| format!("{module}.{name}")).take(1000).collect();
    if names.is_empty() {
        return "it holds no tensors".to_owned();
    }
    let names: Vec<String> = names.into_iter().take(NAMES).collect();
    format!("it holds no tensors, only calls of Python that are never made: {}", names.join(", "))
}
