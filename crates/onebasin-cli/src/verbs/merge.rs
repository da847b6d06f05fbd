//! `onebasin merge`: match, apply and combine in one go.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use onebasin_core::Params;
use onebasin_core::merge::{Interpolation, MergeRule, cast, merge, merge_by_group};
use onebasin_core::symmetry::{GroupId, Symmetry};
use onebasin_io::{Moving, merge_streamed, products_streamed};
use onebasin_nn::Data;
use serde_json::json;

use crate::align::{Aligned, How, align, ensure, input_as, provenance};
use crate::args::{Merge, RepairName};
use crate::device::Device;
use crate::finish::Finish;
use crate::model::{Model, is_onnx};
use crate::signals;
use crate::talk::Talk;
use crate::verbs::train::open_data;

pub fn run(args: &Merge, talk: Talk) -> Result<()> {
    if !(0.0..=1.0).contains(&args.lambda) {
        bail!("--lambda must lie between 0 (network A) and 1 (network B), found {}", args.lambda);
    }
    let device = Device::open(args.matching.device, talk)?;
    let (a, b) = Model::open_pair_unread(&args.a, &args.b, &args.source, talk)?;
    let target = a.target(&args.output)?;
    let data = args.data.as_ref().map(|spec| open_data(spec, talk)).transpose()?;
    if args.repair == RepairName::Data && data.is_none() {
        bail!("--repair data measures on data; give --data, or use --repair weights");
    }
    let finishes = (data.is_some() && !a.statistics().is_empty()) || args.repair != RepairName::None;
    let whole = finishes || is_onnx(target.path());
    if whole || args.align.is_none() || a.runs() {
        a.check_finite()?;
        b.check_finite()?;
    }
    let aligned = if let Some(path) = &args.align {
        Aligned::read(path, &b)?
    } else {
        let how = How {
            source: &args.source,
            matching: &args.matching,
            data: data.as_ref(),
            device: device.as_ref(),
            resume: None,
        };
        align(&a, &b, args.method, &how, talk)?
    };
    if !args.no_check {
        ensure(&a, &aligned.symmetry, talk)?;
    }
    remark(&a, data.is_some(), args.repair, talk);
    let by_group = group_lambdas(args, &aligned)?;
    let options = json!({
        "lambda": args.lambda, "interpolation": args.interpolation.to_string(),
        "dtype": args.dtype.map(onebasin_core::DType::name), "data": data.as_ref().map(|d| &d.name),
        "repair": format!("{:?}", args.repair).to_lowercase(), "group_lambda": named(&aligned.symmetry, &by_group),
        "matching": aligned.record,
    });
    let inputs = |[of_a, of_b]: [&str; 2]| {
        let ends = [input_as("a", &a.checkpoint, of_a), input_as("b", &b.checkpoint, of_b)];
        ends.into_iter().chain(aligned.file.clone()).collect::<Vec<_>>()
    };
    let made = |digests: [&str; 2]| provenance("merge", &inputs(digests), &options);
    let digests = || [a.checkpoint.digest(), b.checkpoint.digest()];
    signals::check()?;
    if whole {
        let finish = (finishes, data.as_ref());
        a.write(&target, &in_memory(args, &a, &b, &aligned, &by_group, finish)?, &made(digests()))?;
    } else {
        let moving = Moving { b: &b.checkpoint, symmetry: &aligned.symmetry, alignment: &aligned.alignment };
        let slerp = by_group.is_empty() && args.interpolation == Interpolation::Slerp;
        let bar = talk.passing("merging", a.weights() * if slerp { 2 } else { 1 });
        let progress = |n| bar.inc(n);
        let mut rule = if slerp {
            MergeRule::slerp(args.lambda, products_streamed(&target, &a.checkpoint, &moving, &progress)?)?
        } else {
            MergeRule::by_group(&aligned.symmetry, args.lambda, &by_group)?
        };
        if let Some(dtype) = args.dtype {
            rule = rule.cast(dtype)?;
        }
        let header = |digests: [&str; 2]| a.header(&made(digests));
        merge_streamed(&target, &a.checkpoint, &moving, &a.rest, &rule, &header, &progress)?;
        bar.finish_and_clear();
    }
    let inputs = inputs(digests());

    let how = match &aligned.record {
        Some(r) => {
            format!("aligned by {} (⟨A, π(B)⟩ {:.4} → {:.4})", r.compared, r.start_objective, r.objective)
        }
        None => "aligned with the given file".to_owned(),
    };
    let text = format!("{}: {} at λ = {}, {how}", args.output.display(), args.interpolation, args.lambda);
    talk.result(&json!({ "output": args.output.display().to_string(), "inputs": inputs, "options": options }), &text)
}

/// Says what becomes of the statistics of BatchNorms.
fn remark(a: &Model, has_data: bool, repair: RepairName, talk: Talk) {
    let has_statistics = !a.statistics().is_empty();
    if has_data && !has_statistics && repair == RepairName::None {
        talk.detail("the network has no BatchNorm, so the merged weights are left as they are");
    }
    if !has_data && has_statistics {
        talk.say(
            "note: the statistics of BatchNorms were interpolated, which ruins most merged networks; give --data to \
             recompute them",
        );
    }
}

/// The merged network, where all of it is needed at once: to be run, or to go into an ONNX model.
fn in_memory(
    args: &Merge,
    a: &Model,
    b: &Model,
    aligned: &Aligned,
    by_group: &BTreeMap<GroupId, f64>,
    (finishes, data): (bool, Option<&Data>),
) -> Result<Params> {
    let moved = aligned.alignment.apply(&aligned.symmetry, b.params())?;
    let mut merged = if by_group.is_empty() {
        merge(a.params(), &moved, args.lambda, args.interpolation)?
    } else {
        merge_by_group(&aligned.symmetry, a.params(), &moved, args.lambda, by_group)?
    };
    if finishes {
        let program = data.map_or_else(|| a.program(), |data| a.program_for(data))?;
        let finish = Finish { program: &program, data: data.map(|d| &d.train), repair: args.repair };
        merged = finish.apply([a.params(), &moved], &merged, args.lambda)?;
    }
    Ok(args.dtype.map_or(Ok(merged.clone()), |dtype| cast(&merged, dtype))?)
}

/// λ of groups that do not lie at `--lambda`: as given, and 0 where too little corresponds.
fn group_lambdas(args: &Merge, aligned: &Aligned) -> Result<BTreeMap<GroupId, f64>> {
    let symmetry = &aligned.symmetry;
    let id = |name: &str| {
        let found = symmetry.groups().iter().position(|g| g.name == name).map(GroupId);
        let names = || symmetry.groups().iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(", ");
        found.with_context(|| format!("there is no group `{name}`; known: {}", names()))
    };
    let mut found = BTreeMap::new();
    if let Some(least) = args.min_correlation {
        let seen = aligned.record.as_ref().map_or(&[][..], |r| &r.correlation);
        if seen.is_empty() {
            bail!("--min-correlation needs correlations of activations; use --method activation with --data");
        }
        for group in seen.iter().filter(|g| g.correlation < least) {
            found.insert(id(&group.group)?, 0.0);
        }
    }
    for (name, lambda) in &args.group_lambda {
        found.insert(id(name)?, *lambda);
    }
    Ok(found)
}

fn named(symmetry: &Symmetry, lambdas: &BTreeMap<GroupId, f64>) -> BTreeMap<String, f64> {
    lambdas.iter().map(|(id, l)| (symmetry.group(*id).name.clone(), *l)).collect()
}
