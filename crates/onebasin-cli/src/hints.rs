//! What to type, where the library only knows what is missing.

use onebasin::Error;

/// A hint for an error of the library, if there is one.
pub fn of(error: &anyhow::Error) -> Option<String> {
    if error.chain().any(|e| matches!(e.downcast_ref(), Some(onebasin_nn::Error::Memory { .. }))) {
        return Some("--memory SIZE allows more, such as --memory 64GiB".to_owned());
    }
    if error.chain().any(|e| matches!(e.downcast_ref(), Some(onebasin::io::Error::IsInput { .. }))) {
        return Some(
            "--overwrite of match, apply, merge, merge-many, mergekit and rebase lets it be replaced".to_owned(),
        );
    }
    error.chain().find_map(|e| e.downcast_ref::<Error>()).and_then(of_error)
}

/// Whether an error is one of usage: a name was typed that there is not.
pub fn is_usage(error: &anyhow::Error) -> bool {
    use onebasin::nn::Error::NoNetwork;
    error.chain().any(|e| {
        matches!(e.downcast_ref(), Some(NoNetwork { .. }))
            || matches!(
                e.downcast_ref(),
                Some(onebasin_lab::Error::Unknown { .. } | onebasin_lab::Error::Networks(NoNetwork { .. }))
            )
            || e.downcast_ref::<Error>().is_some_and(names_no_network)
    })
}

fn names_no_network(error: &Error) -> bool {
    match error {
        Error::Network(onebasin::nn::Error::NoNetwork { .. }) => true,
        Error::At { source, .. } => names_no_network(source),
        _ => false,
    }
}

fn of_error(error: &Error) -> Option<String> {
    let hint = match error {
        Error::NoSymmetry { .. } => {
            "name a built-in network (--network resnet20-ln:1), give an ONNX file of the same network (--graph net.onnx), or a \
             symmetry file (--symmetry FILE), such as\n  [tensors]\n  \"fc1.weight\" = \"h1 .\"\n  \"fc1.bias\" = \"h1\"\n  \
             \"fc2.weight\" = \". h1\"\n  \"fc2.bias\" = \".\""
        }
        Error::NoGraph { .. } => "name it with --network NAME, or give its graph with --graph net.onnx",
        Error::NeedsData { .. } => "give data with --data, such as --data mnist:DIR, or text:FILE for a language model",
        Error::NeedsIndices { .. } => {
            "language models whose config.json is known write their own; from Python, data may be any array"
        }
        Error::Turns { .. } => "--method weight, or another of permutations, finds such an alignment",
        Error::File(onebasin::io::Error::SeveralParts { .. } | onebasin::io::Error::NoPart { .. }) => {
            "--part NAME takes one"
        }
        Error::SeveralPrefixes { .. } => "--prefix PREFIX says which; --ignore 'PREFIX*' leaves the others out",
        Error::Unused { .. } => {
            "--ignore PATTERN leaves such tensors out, --carry PATTERN takes A's (`*` stands for anything)"
        }
        Error::MadeForOther { exchanged: true, .. } => "give the networks in the order in which `match` got them",
        Error::MadeForOther { exchanged: false, .. } => "--force uses it all the same",
        Error::Moved(_) | Error::WrongSymmetry(_) => "--no-check goes on all the same",
        Error::NoCuda => "use --device cpu",
        Error::Interrupted { resumable: true, .. } => "run again with --resume to go on",
        Error::Needs { option: "repair by data", .. } => "give --batch-norm-samples above 0",
        Error::Needs { option: "min_correlation", .. } => "use --method activation with --data",
        Error::Option { option, .. } => return Some(format!("say it with --{}", option.replace('_', "-"))),
        Error::At { source, .. } | Error::Differ { source, .. } => return of_error(source),
        _ => return None,
    };
    Some(hint.to_owned())
}
