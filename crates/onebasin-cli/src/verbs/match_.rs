//! `onebasin match`: find the alignment of B with A.

use std::fmt::Write;

use anyhow::{Result, bail};
use onebasin_core::symmetry::GroupId;
use onebasin_io::{write_alignment, write_atomic};
use serde_json::json;

use crate::align::{How, align, input, provenance};
use crate::args::{Match, Method};
use crate::device::Device;
use crate::model::Model;
use crate::pair::Resume;
use crate::talk::Talk;
use crate::verbs::train::{check_writable, open_data, sibling};

pub fn run(args: &Match, talk: Talk) -> Result<()> {
    [Some(&args.output), args.report.as_ref()].into_iter().flatten().try_for_each(|path| check_writable(path))?;
    if args.resume && args.method != Method::Ste {
        bail!("only straight-through matching (--method ste) can be gone on with");
    }
    let device = Device::open(args.matching.device, talk)?;
    let (a, b) = Model::open_pair(&args.a, &args.b, &args.source, talk)?;
    let data = args.data.as_ref().map(|spec| open_data(spec, talk)).transpose()?;
    let resume = Some(Resume { file: sibling(&args.output, "resume"), go_on: args.resume });
    let how =
        How { source: &args.source, matching: &args.matching, data: data.as_ref(), device: device.as_ref(), resume };
    let aligned = align(&a, &b, args.method, &how, talk)?;
    let (symmetry, alignment) = (&aligned.symmetry, &aligned.alignment);
    let record = aligned.record.as_ref().expect("it was found here");
    let inputs = [input("a", &a.checkpoint), input("b", &b.checkpoint)];
    let made = provenance("match", &inputs, &json!(record));
    write_alignment(&args.output, symmetry, alignment, &made)?;
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(record)?;
        write_atomic(path, |out| out.write_all(&json))?;
    }

    let mut text = String::new();
    for (id, group) in symmetry.groups().iter().enumerate().map(|(i, g)| (GroupId(i), g)) {
        let copies = alignment.copies(id);
        let moved: usize = copies.iter().map(|p| p.len() - p.fixed_points()).sum();
        writeln!(text, "{}: {moved} of {} units moved", group.name, group.size * copies.len())?;
    }
    record.correlation.iter().try_for_each(|c| writeln!(text, "{}: correlation {:.3}", c.group, c.correlation))?;
    writeln!(
        text,
        "{}: {} compared, ⟨A, π(B)⟩ {:.6} → {:.6}; {}",
        args.output.display(),
        record.compared,
        record.start_objective,
        record.objective,
        record.stop
    )?;
    talk.result(&json!({ "alignment": args.output.display().to_string(), "inputs": inputs, "matching": record }), &text)
}
