//! Language models of different tokens: rows of their tables meet by what tokens spell.

use std::fs;
use std::path::Path;

use onebasin::core::stream::Stream;
use onebasin::nn::{CheckOptions, compare_graphs};
use onebasin::{Align, Blueprint, Context, Merge, Method, Model, Pair, Params, Rebase, Tensor};
use onebasin_io::{Metadata, read, write};
use serde_json::{Value, json};

/// How a tokenizer writes the space before a word and a letter that is no ASCII.
#[derive(Clone, Copy)]
enum Writes {
    Bytes,
    Spaces,
    Inside,
}

/// A tokenizer of these words, each behind a space and an umlaut, by their places.
fn words(words: &[String], writes: Writes) -> String {
    let (before, decoder) = match writes {
        Writes::Bytes => {
            ("ĠÃ¼", json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }))
        }
        Writes::Spaces => {
            ("▁ü", json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true }))
        }
        Writes::Inside => ("ü", json!({ "type": "WordPiece", "prefix": "##", "cleanup": true })),
    };
    let words: Vec<String> = words.iter().map(|word| format!("{before}{word}")).collect();
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(at, word)| (word.clone(), at.into())).collect();
    let model = json!({ "type": "WordLevel", "vocab": vocab, "unk_token": words[0] });
    json!({ "version": "1.0", "decoder": decoder, "model": model }).to_string()
}

fn save(at: &Path, params: &Params, config: &str, tokenizer: &str) {
    fs::create_dir(at).unwrap();
    write(&at.join("model.safetensors"), params, &Metadata::default()).unwrap();
    fs::write(at.join("config.json"), config).unwrap();
    fs::write(at.join("tokenizer.json"), tokenizer).unwrap();
}

/// A table of other tokens: of each the row, or noise where there is none.
fn renumbered(table: &Tensor, rows: &[Option<usize>], stream: &mut Stream) -> Tensor {
    let (each, values) = (table.len() / table.shape()[0], table.to_f64().unwrap());
    let row = |row: &Option<usize>| match row {
        Some(row) => values[row * each..][..each].to_vec(),
        None => (0..each).map(|_| 9.0 * stream.normal()).collect(),
    };
    let made: Vec<f64> = rows.iter().flat_map(row).collect();
    let shape: Vec<usize> = [rows.len()].into_iter().chain(table.shape()[1..].iter().copied()).collect();
    Tensor::from_f64_as(table.dtype(), &shape, &made).unwrap()
}

/// A golden network in folder `a`, and in `b` the same, perhaps without its token 3, with two others, and all in another order;
/// the tensors of A, and the names of its tables.
fn renumbered_pair(room: &Path, name: &str, lacks: bool, [one, two]: [Writes; 2]) -> (Params, Vec<String>) {
    let golden = Path::new("../onebasin-nn/tests/goldens/families").join(format!("{name}.safetensors"));
    let found = read(&golden).unwrap();
    let weights = found.params.iter().filter(|(name, _)| !["input_ids", "logits"].contains(name));
    let a: Params = weights.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    let config = found.metadata.get("config").unwrap();
    let mut parsed: Value = serde_json::from_str(config).unwrap();
    let tokens = parsed["vocab_size"].as_u64().unwrap() as usize;
    let of_a: Vec<String> = (0..tokens).map(|token| format!("t{token}")).collect();
    let order: Vec<usize> = (0..tokens).rev().filter(|token| !lacks || *token != 3).collect();
    let rows: Vec<Option<usize>> = [None].into_iter().chain(order.iter().copied().map(Some)).chain([None]).collect();
    let spelled =
        |(at, row): (usize, &Option<usize>)| row.map_or_else(|| format!("other{at}"), |row| of_a[row].clone());
    let of_b: Vec<String> = rows.iter().enumerate().map(spelled).collect();
    let mut stream = Stream::new(0, "other tokens");
    let tables: Vec<String> = ["transformer.wte.weight", "model.embed_tokens.weight", "lm_head.weight"]
        .into_iter()
        .filter(|name| a.get(name).is_some())
        .map(str::to_owned)
        .collect();
    let mut b = a.clone();
    for table in &tables {
        b.insert(&table[..], renumbered(a.require(table).unwrap(), &rows, &mut stream));
    }
    save(&room.join("a"), &a, config, &words(&of_a, one));
    parsed["vocab_size"] = (rows.len()).into();
    save(&room.join("b"), &b, &parsed.to_string(), &words(&of_b, two));
    (a, tables)
}

#[test]
fn tables_are_averaged_by_token_and_not_by_number() {
    use Writes::{Bytes, Inside, Spaces};
    for (name, writes) in [("gpt2", [Bytes, Bytes]), ("llama", [Bytes, Spaces]), ("llama", [Spaces, Inside])] {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        let (a, tables) = renumbered_pair(room.path(), name, true, writes);
        assert!(!tables.is_empty());
        let pair = Pair::open(at("a"), at("b"), &Blueprint::default()).unwrap();
        let context = Context::default();
        for lambda in [0.5, 1.0] {
            let none = Align { method: Method::None, ..Align::default() };
            let plain = Merge { lambda, ..Merge::default() };
            let aligned = pair.align(&none, &context).unwrap();
            let merged = pair.merge(&aligned, &plain, &context).unwrap();
            assert_eq!(merged.params().unwrap(), a, "{name} at {lambda}");
            merged.write(at(&format!("merged at {lambda}"))).unwrap();
            let written = read(&at(&format!("merged at {lambda}"))).unwrap();
            assert_eq!(written.params, a, "{name} at {lambda}");
            assert!(
                written.metadata.get("onebasin.provenance").is_some_and(|made| made.contains("\"only_a\":1")),
                "{name}"
            );
        }
        let tokenizer = |of: &str| fs::read_to_string(at(of).join("tokenizer.json")).unwrap();
        assert_eq!(tokenizer("merged at 0.5"), tokenizer("a"));
    }
}

#[test]
fn networks_of_other_tokens_are_turned_held_or_part_by_part() {
    for (name, lacks) in [("gpt2", false), ("llama", false), ("gpt2", true), ("llama", true)] {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        let (a, _) = renumbered_pair(room.path(), name, lacks, [Writes::Bytes; 2]);
        let context = Context::default();
        let by_weights = Align { method: Method::Orthogonal, ..Align::default() };
        let held = Pair::open(at("a"), at("b"), &Blueprint::default()).unwrap();
        let aligned = held.align(&by_weights, &context).unwrap();
        let merged = held.merge(&aligned, &Merge::default(), &context).unwrap();
        merged.write(at("held")).unwrap();
        let (before, after) = (held.a(), Model::open(at("held"), &Blueprint::default()).unwrap());
        let programs = [before.program().unwrap(), after.program().unwrap()];
        let same =
            compare_graphs((&programs[0], &a), (&programs[1], after.params()), &CheckOptions::default()).unwrap();
        // Of a token that B has not, units are compared by the mean of others: they come nearly together.
        assert!(same.passes() || lacks && same.difference < 0.02, "{name}: {same}");

        let little = Blueprint { memory: Some(40 * a.element_count() as u64 - 1), ..Blueprint::default() };
        let pair = Pair::open(at("a"), at("b"), &little).unwrap();
        let parts = pair.align(&by_weights, &context).unwrap();
        assert!(parts.turned == aligned.turned, "{name}");
        pair.merge(&parts, &Merge::default(), &context).unwrap().write(at("parts")).unwrap();
        assert_eq!(read(&at("parts")).unwrap().params, read(&at("held")).unwrap().params, "{name}");
    }
}

#[test]
fn nothing_is_carried_to_tokens_that_the_old_base_has_not() {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    let (a, tables) = renumbered_pair(room.path(), "llama", true, [Writes::Spaces; 2]);
    let open = |name: &str| Model::open(at(name), &Blueprint::default()).unwrap();
    let options = Rebase { align: Align { method: Method::None, ..Align::default() }, ..Rebase::default() };
    // The old base is the new one, so what tuning changed arrives as it is.
    let old = read(&at("b")).unwrap().params;
    let double = |(name, tensor): (&str, &Tensor)| {
        let values: Vec<f64> = tensor.to_f64().unwrap().iter().map(|v| 2.0 * v).collect();
        (name.to_owned(), Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values).unwrap())
    };
    let tuned: Params = old.iter().map(double).collect();
    let of_b = |file: &str| fs::read_to_string(at("b").join(file)).unwrap();
    save(&at("tuned"), &tuned, &of_b("config.json"), &of_b("tokenizer.json"));
    let rebased = onebasin::rebase(open("b"), open("a"), &[open("tuned")], &options, &Context::default()).unwrap();
    let doubled: Params = a.iter().map(double).collect();
    for (name, found) in rebased.params().iter() {
        let (found, doubled) = (found.to_f64().unwrap(), doubled.require(name).unwrap().to_f64().unwrap());
        if !tables.contains(&name.to_owned()) {
            assert_eq!(found, doubled, "{name}");
            continue;
        }
        let each = found.len() / a.require(name).unwrap().shape()[0];
        let own = a.require(name).unwrap().to_f64().unwrap().into_owned();
        assert_eq!(found[3 * each..4 * each], own[3 * each..4 * each], "{name}");
        assert_eq!(found[4 * each..], doubled[4 * each..], "{name}");
    }
}
