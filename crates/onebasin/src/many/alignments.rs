//! Alignments of many networks in a folder, one file a network: what the next round starts from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use onebasin_core::symmetry::{Alignment, Symmetry};

use super::{Many, Mean};
use crate::align::Aligned;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::Model;

impl Many {
    /// Reads the alignments that [`Mean::write_alignments`] wrote, found by the names of the networks' files. A network that has
    /// none, such as one that takes part for the first time, starts as it comes, and the observer is told.
    ///
    /// # Errors
    /// If a file holds no alignment, or one of another structure; or two networks have the same name.
    pub fn read_alignments(&self, folder: impl AsRef<Path>, context: &Context<'_>) -> Result<Vec<Alignment>> {
        let symmetry = self.models[0].symmetry()?;
        let read = |(model, path): (&Model, PathBuf)| {
            if path.exists() {
                return Ok(Aligned::read(&path, model)?.alignment);
            }
            context.note(&format!("{}: there is none to start from, so it starts as it comes", path.display()));
            Ok(Alignment::identity(&symmetry))
        };
        self.models.iter().zip(self.files_in(folder.as_ref())?).map(read).collect()
    }

    /// Writes an alignment of every network into a folder, as [`Mean::write_alignments`].
    pub(super) fn write_alignments(
        &self,
        folder: &Path,
        symmetry: &Symmetry,
        alignments: &[Alignment],
    ) -> Result<Vec<PathBuf>> {
        let files = self.files_in(folder)?;
        std::fs::create_dir_all(folder).map_err(|source| {
            let (path, action) = (folder.to_owned(), "make");
            Error::from(onebasin_io::Error::Io { path, action, source })
        })?;
        files.iter().zip(alignments).try_for_each(|(file, alignment)| self.aligned(symmetry, alignment).save(file))?;
        Ok(files)
    }

    fn aligned(&self, symmetry: &Symmetry, alignment: &Alignment) -> Aligned {
        let (symmetry, alignment) = (symmetry.clone(), alignment.clone());
        let account = self.account().of(&symmetry);
        Aligned { symmetry, alignment, record: None, file: None, account, made_for: Vec::new(), turned: None }
    }

    /// The file of every network's alignment in a folder.
    fn files_in(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut taken = BTreeSet::new();
        let file = |model: &Model| {
            let name = model.path().file_stem().unwrap_or(model.path().as_os_str()).to_string_lossy().into_owned();
            if !taken.insert(name.clone()) {
                let (option, expected) = ("alignments", "of networks whose files have names of their own");
                return Err(Error::Option { option, expected, found: format!("two called `{name}`") });
            }
            Ok(folder.join(format!("{name}.alignment.safetensors")))
        };
        self.models.iter().map(file).collect()
    }
}

impl Mean {
    /// The alignment of a network, by its number, with the symmetry it belongs to.
    ///
    /// # Panics
    /// If there is no such network.
    pub fn aligned(&self, network: usize) -> Aligned {
        self.many.aligned(&self.symmetry, &self.alignments[network])
    }

    /// Writes the alignment of every network into a folder, which is made where there is none: `NAME.alignment.safetensors` for a
    /// network that lies in `NAME.safetensors`. Each is one that [`Aligned::read`] reads.
    ///
    /// # Errors
    /// If a file cannot be written, or two networks have the same name.
    ///
    /// ```
    /// use onebasin::{Context, Many, MergeMany, Model, Network};
    /// # let folder = tempfile::tempdir()?;
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let paths: Vec<_> = (0..3).map(|seed| folder.path().join(format!("client-{seed}.safetensors"))).collect();
    /// for (seed, path) in paths.iter().enumerate() {
    ///     Model::of(&network, network.init(seed as u64)?)?.save(path)?;
    /// }
    /// let (many, context) = (Many::open(&paths, &Default::default())?, Context::default());
    /// let mean = MergeMany::default().run(&many, &context)?;
    /// let written = mean.write_alignments(folder.path().join("round-1"))?;
    /// assert!(written[1].ends_with("round-1/client-1.alignment.safetensors"));
    /// assert_eq!(many.read_alignments(folder.path().join("round-1"), &context)?, mean.alignments);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_alignments(&self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        self.many.write_alignments(folder.as_ref(), &self.symmetry, &self.alignments)
    }
}
