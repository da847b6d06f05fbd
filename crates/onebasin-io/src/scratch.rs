//! Hidden folders in which outputs are made, and what a kill leaves of them.
//!
//! A scratch folder lies where its output will lie, so that a rename puts it there, and is locked while its process lives.
//! In `new` an output grows; in `old` lies what is set aside until all of it is in place, and is put back if that fails or
//! never comes to its end. Folders that nobody holds any more are cleared by the next run that makes one beside them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use crate::companions::is_companion;
use crate::folder::is_index;
use crate::input::identity;

const PREFIX: &str = ".onebasin-";
const SUFFIX: &str = ".tmp";
/// Random letters and digits between them.
const RANDOM: usize = 12;
/// What is made.
const NEW: &str = "new";
/// What is put back if what is made does not take its place.
const OLD: &str = "old";
/// What was set aside and is not needed any more.
const DONE: &str = "done";

/// A hidden folder of this process, cleared and removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// None where the file system has no locks.
    _lock: Option<File>,
}

impl Scratch {
    /// Makes one in `folder`, and clears what killed processes left there.
    pub(crate) fn within(folder: &Path) -> Result<Self> {
        clear_leftovers(folder);
        // Another process may take a folder that is not locked yet for a leftover; a new one is made then.
        for _ in 0..16 {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX).suffix(SUFFIX).rand_bytes(RANDOM);
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
            let path = builder.tempdir_in(folder).map_err(|e| plain(&e))?.keep();
            let lock = match lock(&path) {
                Held::Ours(lock) => Some(lock),
                Held::Unknown => None,
                Held::Others => continue,
            };
            fs::create_dir(path.join(NEW))?;
            return Ok(Self { path, _lock: lock });
        }
        Err(Error::other("temporary folders are removed as soon as they are made"))
    }

    /// The folder in which an output is made.
    pub(crate) fn new_folder(&self) -> PathBuf {
        self.path.join(NEW)
    }

    /// Puts files made here into `folder`, which is the one this lies in: all of them or, if one cannot take its place,
    /// none. Of the files of `folder` whose names `owned` knows none is left that is not among `names`. The last of `names`
    /// leaves first and comes last.
    pub(crate) fn place(&self, names: &[OsString], owned: &dyn Fn(&str) -> bool) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let old = self.path.join(OLD);
        let mut aside: Vec<OsString> = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .filter(|name| names.contains(name) || name.to_str().is_some_and(owned))
            .collect();
        aside.sort_by_key(|name| names.last() != Some(name));
        fs::create_dir(&old)?;
        let moved = || {
            aside.iter().try_for_each(|name| rename(&folder.join(name), &old.join(name)))?;
            names.iter().try_for_each(|name| rename(&self.path.join(NEW).join(name), &folder.join(name)))?;
            rename(&old, &self.path.join(DONE))
        };
        moved().inspect_err(|_| {
            for name in names.iter().rev().filter(|name| !self.path.join(NEW).join(name).exists()) {
                fs::rename(folder.join(name), self.path.join(NEW).join(name)).ok();
            }
            put_back(&self.path, folder);
        })
    }

    /// Puts the folder `name` made here into the place of the one of that name beside this, or makes it the first.
    /// Files that `owned` does not know stay in it. Falls back on `None` where that needs what the file system lacks.
    pub(crate) fn place_folder(&self, name: &OsString, owned: &dyn Fn(&str) -> bool) -> Result<Option<()>> {
        let (new, target) = (self.path.join(NEW).join(name), self.path.with_file_name(name));
        if !target.exists() {
            return rename(&new, &target).map(Some);
        }
        if carry(&target, &new, &|name| owned(name) || is_scratch(name)).is_err() {
            return Ok(None);
        }
        sync(&new);
        match exchange(&new, &target) {
            Ok(()) => Ok(Some(())),
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                let old = self.path.join(OLD);
                fs::create_dir(&old)?;
                let moved = rename(&target, &old.join(name)).and_then(|()| rename(&new, &target));
                match moved {
                    Ok(()) => rename(&old, &self.path.join(DONE)).map(Some),
                    Err(e) => {
                        put_back(&self.path, self.path.parent().unwrap_or(Path::new(".")));
                        Err(e)
                    }
                }
            }
            Err(_) => Ok(None),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clear(&self.path);
    }
}

/// What the system said, without the name of a folder that nobody asked for.
pub(crate) fn plain(error: &Error) -> Error {
    let said = error.get_ref().and_then(std::error::Error::source).and_then(|said| said.downcast_ref::<Error>());
    let code = said.unwrap_or(error).raw_os_error();
    code.map_or_else(|| error.kind().into(), Error::from_raw_os_error)
}

/// Who holds a scratch folder.
enum Held {
    Ours(File),
    /// A living process, or it is gone.
    Others,
    /// There are no locks to tell.
    Unknown,
}

fn lock(path: &Path) -> Held {
    let Ok(folder) = File::open(path) else {
        return if path.exists() { Held::Unknown } else { Held::Others };
    };
    match folder.try_lock() {
        Ok(()) => {
            let same = |found: fs::Metadata| folder.metadata().is_ok_and(|ours| identity(&ours) == identity(&found));
            if fs::metadata(path).is_ok_and(same) { Held::Ours(folder) } else { Held::Others }
        }
        Err(fs::TryLockError::WouldBlock) => Held::Others,
        Err(fs::TryLockError::Error(_)) => Held::Unknown,
    }
}

fn is_scratch(name: &str) -> bool {
    let random = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Clears the scratch folders of `folder` whose processes have ended, and puts back what they had set aside.
pub(crate) fn clear_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_scratch)
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Held::Ours(_lock) = lock(&entry.path())
        {
            put_back(&entry.path(), folder);
            clear(&entry.path());
        }
    }
}

/// Puts what is set aside in a scratch folder back into `folder`, indices last.
fn put_back(scratch: &Path, folder: &Path) {
    let old = scratch.join(OLD);
    let mut names: Vec<OsString> = fs::read_dir(&old).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
    names.sort_by_key(|name| is_index(&name.to_string_lossy()));
    // A folder does not take the place of one that holds something: that is the new one, which came to its end.
    for name in names {
        fs::rename(old.join(&name), folder.join(&name)).ok();
    }
}

/// Removes a scratch folder and whatever was made in it. What others put into a folder while it was being replaced goes to
/// the one that is in its place.
fn clear(scratch: &Path) {
    let folder = scratch.parent().unwrap_or(Path::new("."));
    for part in [NEW, OLD, DONE].map(|part| scratch.join(part)) {
        for entry in fs::read_dir(&part).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                discard(&entry.path(), &folder.join(entry.file_name()), part.ends_with(NEW));
            } else {
                fs::remove_file(entry.path()).ok();
            }
        }
        fs::remove_dir(&part).ok();
    }
    fs::remove_dir(scratch).ok();
}

/// Removes a folder whose place another one has taken, or that did not get to its place: its checkpoint, and what the other one
/// has too. What goes along with a checkpoint is not moved to the other one where it may be half written, as `drafts` are.
fn discard(folder: &Path, other: &Path, drafts: bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, twin) = (entry.path(), other.join(entry.file_name()));
        let same =
            || Some(identity(&fs::symlink_metadata(&path).ok()?) == identity(&fs::symlink_metadata(&twin).ok()?));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            discard(&path, &twin, false);
            continue;
        }
        let named = |is: fn(&str) -> bool| entry.file_name().to_str().is_some_and(is);
        let is_missing = fs::symlink_metadata(&twin).is_err();
        if same() == Some(true) || named(is_checkpoint) || (named(is_companion) && (drafts || !is_missing)) {
            fs::remove_file(&path).ok();
        } else if is_missing {
            fs::rename(&path, &twin).ok();
        }
    }
    fs::remove_dir(folder).ok();
}

fn is_checkpoint(name: &str) -> bool {
    name.ends_with(".safetensors") || is_index(name)
}

/// Gives `to` all that `from` holds and `skipped` does not know, as further names of the same files.
fn carry(from: &Path, to: &Path, skipped: &dyn Fn(&str) -> bool) -> Result<()> {
    let found = fs::metadata(from)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(skipped) {
            continue;
        }
        let twin = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&twin)?;
            carry(&entry.path(), &twin, &|_| false)?;
        } else {
            fs::hard_link(entry.path(), twin)?;
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let ours = fs::metadata(to)?;
        if (ours.uid(), ours.gid()) != (found.uid(), found.gid()) {
            std::os::unix::fs::chown(to, Some(found.uid()), Some(found.gid()))?;
        }
    }
    fs::set_permissions(to, found.permissions())
}

/// A rename, which tests may be killed at.
fn rename(from: &Path, to: &Path) -> Result<()> {
    #[cfg(test)]
    tests::step();
    fs::rename(from, to)
}

/// Two folders change places in one step.
fn exchange(one: &Path, other: &Path) -> Result<()> {
    #[cfg(test)]
    if !tests::step() {
        return Err(ErrorKind::Unsupported.into());
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (one, other);
        Err(ErrorKind::Unsupported.into())
    }
}

/// Waits until the names in a folder are on disk; systems that cannot open a folder do not need it.
pub(crate) fn sync(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().ok();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use onebasin_core::{Params, Tensor};
    use serde_json::json;

    use super::*;
    use crate::{Checkpoint, Metadata, OnnxModel, Target, read, write_atomic};

    const FOLDER: &str = "ONEBASIN_SWAP_FOLDER";
    const HOW: &str = "ONEBASIN_SWAP_HOW";
    const KILL_AT: &str = "ONEBASIN_SWAP_KILL_AT";

    /// Ends the process at the step that it was told; says whether folders can be exchanged.
    pub(super) fn step() -> bool {
        static STEPS: AtomicUsize = AtomicUsize::new(1);
        let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<usize>().ok());
        if number(KILL_AT).is_some_and(|at| STEPS.fetch_add(1, Ordering::Relaxed) == at) {
            std::process::abort();
        }
        !std::env::var(HOW).is_ok_and(|how| how == "renamed")
    }

    fn net(value: f32) -> Params {
        ["a", "b", "c"].map(|n| (n.to_owned(), Tensor::from_f32(&[2], vec![value; 2]).unwrap())).into_iter().collect()
    }

    fn values(found: &Checkpoint) -> Vec<f32> {
        found.params.iter().flat_map(|(_, t)| t.to_f32().unwrap().into_owned()).collect()
    }

    /// A folder of three shards with an index and files of others.
    fn shards(folder: &Path) {
        fs::create_dir_all(folder.join("more")).unwrap();
        let net = net(1.0);
        let map: BTreeMap<&str, String> = net.names().map(|n| (n, format!("model-{n}.safetensors"))).collect();
        for (name, tensor) in net.iter() {
            let part = [(name.to_owned(), tensor.clone())].into_iter().collect();
            crate::write(&folder.join(&map[name]), &part, &Metadata::default()).unwrap();
        }
        let index = json!({ "metadata": { "total_size": 0 }, "weight_map": map }).to_string();
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        fs::write(folder.join("more/tokenizer.json"), "[]").unwrap();
    }

    fn scratches(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().filter(|e| is_scratch(e.as_ref().unwrap().file_name().to_str().unwrap())).count()
    }

    /// What a killed process does; it does nothing unless [`killed`] runs it.
    #[test]
    fn replaces_what_it_is_told() {
        let Some(at) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let out = at.join("out");
        match std::env::var(HOW).unwrap().as_str() {
            "exchanged" | "renamed" => {
                Target::like(&out, &read(&out).unwrap()).unwrap().write(&net(2.0), &Metadata::default()).unwrap();
            }
            "inside" => {
                let fresh = at.join("fresh");
                let target = Target::like(&fresh, &read(&out).unwrap()).unwrap();
                target.write(&net(2.0), &Metadata::default()).unwrap();
                let scratch = Scratch::within(&out).unwrap();
                let names = ["a", "b", "c"].map(|n| format!("model-{n}.safetensors"));
                let names = names.into_iter().chain(["model.safetensors.index.json".to_owned()]);
                let names: Vec<OsString> = names.map(OsString::from).collect();
                for name in &names {
                    fs::copy(fresh.join(name), scratch.new_folder().join(name)).unwrap();
                }
                fs::remove_dir_all(fresh).unwrap();
                scratch.place(&names, &|name| is_checkpoint(name)).unwrap();
            }
            _ => {
                let model = OnnxModel::open(&out.join("m.onnx")).unwrap();
                let params = model.params().iter().map(|(n, t)| (n.to_owned(), doubled(t))).collect();
                model.write(&out.join("m.onnx"), &params, None).unwrap();
            }
        }
    }

    fn doubled(tensor: &Tensor) -> Tensor {
        match tensor.to_f32() {
            Ok(values) => Tensor::from_f32(tensor.shape(), values.iter().map(|v| 2.0 * v).collect()).unwrap(),
            Err(_) => tensor.clone(),
        }
    }

    /// Replaces the checkpoint at `out` again and again, killed at the first step, the second and so on until it gets
    /// through; `seen` is shown what each leaves.
    fn killed(how: &str, begin: &dyn Fn(&Path), seen: &dyn Fn(&Path, bool)) -> usize {
        for at in 1..100 {
            let folder = tempfile::tempdir().unwrap();
            begin(folder.path());
            let steps = std::env::var(KILL_AT).is_err();
            assert!(steps);
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "scratch::tests::replaces_what_it_is_told", "--test-threads", "1"]);
            child.env(FOLDER, folder.path()).env(HOW, how).env(KILL_AT, at.to_string());
            let ended = child.output().unwrap().status.success();
            seen(folder.path(), ended);
            if ended {
                return at;
            }
        }
        panic!("it never ends");
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_of_shards_is_the_old_one_or_the_new_one_wherever_it_is_killed() {
        for how in ["exchanged", "renamed", "inside"] {
            let seen = |at: &Path, ended: bool| {
                let out = at.join("out");
                let exchanged = cfg!(target_os = "linux") && how == "exchanged";
                if exchanged {
                    assert!([vec![1.0; 6], vec![2.0; 6]].contains(&values(&read(&out).unwrap())));
                }
                // The next one to write beside it, or into it, clears up.
                write_atomic(&at.join("other"), |out| out.write_all(b"1")).unwrap();
                if out.exists() {
                    write_atomic(&out.join("other"), |out| out.write_all(b"1")).unwrap();
                }
                let found = values(&read(&out).unwrap());
                assert!(
                    if ended { found == [2.0; 6] } else { found == [1.0; 6] || found == [2.0; 6] },
                    "{how}: {found:?}"
                );
                assert_eq!(
                    (fs::read(out.join("config.json")).unwrap(), scratches(at), scratches(&out)),
                    (b"{}".to_vec(), 0, 0)
                );
                assert_eq!(fs::read(out.join("more/tokenizer.json")).unwrap(), b"[]");
                assert_eq!(fs::read_dir(&out).unwrap().count(), 7, "{how}");
            };
            let steps = killed(how, &|at| shards(&at.join("out")), &seen);
            assert!(steps > if how == "inside" { 8 } else { 1 }, "{how}: {steps}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_model_and_its_external_data_stay_together_wherever_it_is_killed() {
        let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/external.onnx"));
        let begin = |at: &Path| {
            fs::create_dir(at.join("out")).unwrap();
            let model = OnnxModel::open(golden).unwrap();
            model.write(&at.join("out/m.onnx"), model.params(), None).unwrap();
        };
        let old = OnnxModel::open(golden).unwrap().params().clone();
        let new: Params = old.iter().map(|(n, t)| (n.to_owned(), doubled(t))).collect();
        let seen = |at: &Path, ended: bool| {
            write_atomic(&at.join("out/other"), |out| out.write_all(b"1")).unwrap();
            let found = OnnxModel::open(&at.join("out/m.onnx")).unwrap().params().clone();
            assert!(if ended { found == new } else { found == old || found == new });
            assert_eq!(fs::read_dir(at.join("out")).unwrap().count(), 3);
        };
        assert!(killed("onnx", &begin, &seen) > 4);
    }

    #[test]
    #[cfg(unix)]
    fn only_leftovers_of_the_dead_are_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let living = Scratch::within(at).unwrap();
        fs::write(living.new_folder().join("file"), b"half").unwrap();
        let dead = at.join(".onebasin-0123456789ab.tmp");
        fs::create_dir_all(dead.join("new/out")).unwrap();
        fs::write(dead.join("new/out/model.safetensors"), b"half").unwrap();
        let foreign = [
            ".onebasin-notes.tmp",
            ".onebasin-0123456789a-.tmp",
            ".a.safetensors.x1.tmp",
            ".onebasin-abcdefghijkl.tmp",
        ];
        for name in foreign {
            fs::write(at.join(name), b"mine").unwrap();
        }
        write_atomic(&at.join("out.txt"), |out| out.write_all(b"1")).unwrap();
        assert!(!dead.exists());
        assert!(living.new_folder().join("file").exists());
        assert!(foreign.iter().all(|name| at.join(name).exists()));
        drop(living);
        assert_eq!(fs::read_dir(at).unwrap().count(), foreign.len() + 1);
    }

    #[test]
    #[cfg(unix)]
    fn what_others_put_into_a_folder_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        shards(&out);
        let scratch = Scratch::within(folder.path()).unwrap();
        let old = scratch.new_folder().join("out");
        fs::create_dir(&old).unwrap();
        carry(&out, &old, &|name| is_checkpoint(name)).unwrap();
        fs::write(old.join("log.txt"), b"late").unwrap();
        drop(scratch);
        assert_eq!(fs::read(out.join("log.txt")).unwrap(), b"late");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 7);
        assert_eq!(scratches(folder.path()), 0);
    }
}
