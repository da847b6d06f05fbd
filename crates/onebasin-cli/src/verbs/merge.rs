//! `onebasin merge`: match, apply and combine in one go.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use onebasin::merge::{cast, merge, merge_by_group};
use onebasin::symmetry::{GroupId, Symmetry};
use serde_json::json;

use crate::align::{Aligned, How, align, ensure, input, provenance};
use crate::args::{Merge, RepairName};
use crate::finish::Finish;
use crate::model::Model;
use crate::signals;
use crate::talk::Talk;
use crate::verbs::train::{check_writable, open_data};

pub fn run(args: &Merge, talk: Talk) -> Result<()> {
    if !(0.0..=1.0).contains(&args.lambda) {
        bail!("--lambda must lie between 0 (network A) and 1 (network B), found {}", args.lambda);
    }
    check_writable(&args.output)?;
    let (a, b) = Model::open_pair(&args.a, &args.b, &args.source, talk)?;
    a.check_format(&args.output)?;
    let data = args.data.as_ref().map(|spec| open_data(spec, talk)).transpose()?;
    if args.repair == RepairName::Data && data.is_none() {
        bail!("--repair data measures on data; give --data, or use --repair weights");
    }
    let aligned = if let Some(path) = &args.align {
        Aligned::read(path, &b)?
    } else {
        let how = How { source: &args.source, matching: &args.matching, data: data.as_ref(), resume: None };
        align(&a, &b, args.method, &how, talk)?
    };
    if !args.no_check {
        ensure(&a, &aligned.symmetry, talk)?;
    }
    let moved = aligned.alignment.apply(&aligned.symmetry, b.params())?;
    let by_group = group_lambdas(args, &aligned)?;
    let mut merged = if by_group.is_empty() {
        merge(a.params(), &moved, args.lambda, args.interpolation)?
    } else {
        merge_by_group(&aligned.symmetry, a.params(), &moved, args.lambda, &by_group)?
    };
    let has_statistics = !a.statistics().is_empty();
    if data.is_some() && !has_statistics && args.repair == RepairName::None {
        talk.detail("the network has no BatchNorm, so the merged weights are left as they are");
    }
    if data.is_none() && has_statistics {
        talk.say(
            "note: the statistics of BatchNorms were interpolated, which ruins most merged networks; give --data to \
             recompute them",
        );
    }
    if (data.is_some() && has_statistics) || args.repair != RepairName::None {
        let program = data.as_ref().map_or_else(|| a.program(), |data| a.program_for(data))?;
        let finish = Finish { program: &program, data: data.as_ref().map(|d| &d.train), repair: args.repair };
        merged = finish.apply([a.params(), &moved], &merged, args.lambda)?;
    }
    if let Some(dtype) = args.dtype {
        merged = cast(&merged, dtype)?;
    }
    let mut inputs = vec![input("a", &a.checkpoint), input("b", &b.checkpoint)];
    inputs.extend(aligned.file);
    let options = json!({
        "lambda": args.lambda, "interpolation": args.interpolation.to_string(),
        "dtype": args.dtype.map(onebasin::DType::name), "data": data.as_ref().map(|d| &d.name),
        "repair": format!("{:?}", args.repair).to_lowercase(), "group_lambda": named(&aligned.symmetry, &by_group),
        "matching": aligned.record,
    });
    signals::check()?;
    a.write(&args.output, &merged, &provenance("merge", &inputs, &options))?;

    let how = match &aligned.record {
        Some(r) => {
            format!("aligned by {} (⟨A, π(B)⟩ {:.4} → {:.4})", r.compared, r.start_objective, r.objective)
        }
        None => "aligned with the given file".to_owned(),
    };
    let text = format!("{}: {} at λ = {}, {how}", args.output.display(), args.interpolation, args.lambda);
    talk.result(&json!({ "output": args.output.display().to_string(), "inputs": inputs, "options": options }), &text)
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
