//! What every verb does, one file each.

mod apply;
mod barrier;
mod check;
mod demo;
mod inspect;
mod match_;
mod merge;
mod merge_many;
mod mergekit;
mod rebase;
mod reproduce;
mod symmetry;
mod train;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{CommandLine, SymmetryVerb, Verb};
use crate::talk::Talk;

pub fn run(verb: Verb, talk: Talk) -> Result<()> {
    match verb {
        Verb::Demo(args) => demo::run(&args, talk),
        Verb::Train(args) => train::run(&args, talk),
        Verb::Inspect(args) => inspect::run(&args, talk),
        Verb::Check(args) => check::run(&args, talk),
        Verb::Symmetry(SymmetryVerb::Init(args)) => symmetry::run(&args, talk),
        Verb::Match(args) => match_::run(&args, talk),
        Verb::Apply(args) => apply::run(&args, talk),
        Verb::Merge(args) => merge::run(&args, talk),
        Verb::MergeMany(args) => merge_many::run(&args, talk),
        Verb::Mergekit(args) => mergekit::run(&args, talk),
        Verb::Rebase(args) => rebase::run(&args, talk),
        Verb::Barrier(args) => barrier::run(&args, talk),
        Verb::Reproduce(args) => reproduce::run(&args, talk),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "onebasin", &mut script);
            talk.print(&script)
        }
    }
}
