//! Two files of one architecture become one file: open, match, merge, save.
#![allow(clippy::print_stdout, reason = "it shows what it finds")]

use onebasin::{Align, Blueprint, Context, Merge, Model, Network, Pair};

/// Opens, matches, merges, saves.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    // In place of two networks that you trained.
    let network = Network::new("mlp:32x2", &[8], 3)?;
    for (name, seed) in [("a.safetensors", 0), ("b.safetensors", 1)] {
        Model::of(&network, network.init(seed)?)?.save(path(name))?;
    }

    // Files that do not say what network they are of need a blueprint: a built-in network, an ONNX export, a symmetry file.
    let pair = Pair::open(path("a.safetensors"), path("b.safetensors"), &Blueprint::default())?;
    let aligned = pair.align(&Align::default(), &Context::default())?;
    println!("{aligned}");

    let merged = pair.merge(&aligned, &Merge::default(), &Context::default())?;
    let written = merged.write(path("merged.safetensors"))?;
    println!("{} from {} files", written.output.display(), written.inputs.len());
    Ok(())
}
