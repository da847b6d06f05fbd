//! Two neural networks trained from different seeds compute much the same function with their units numbered differently;
//! average their weights and the result is ruined. onebasin finds the renumbering that brings one network into the other's
//! basin of the loss landscape, so that the two can be averaged: *Git Re-Basin* (Ainsworth, Hayase, Srinivasa, ICLR 2023).
//!
//! ```
//! # use onebasin::{Model, Network};
//! # let folder = tempfile::tempdir()?;
//! # let path = |name: &str| folder.path().join(name);
//! # let network = Network::new("mlp:16x2", &[8], 3)?;
//! # Model::of(&network, network.init(0)?)?.save(path("a.safetensors"))?;
//! # Model::of(&network, network.init(1)?)?.save(path("b.safetensors"))?;
//! use onebasin::{Align, Blueprint, Context, Merge, Pair};
//! let pair = Pair::open(path("a.safetensors"), path("b.safetensors"), &Blueprint::default())?;
//! let aligned = pair.align(&Align::default(), &Context::default())?;
//! println!("{aligned}");
//! pair.merge(&aligned, &Merge::default(), &Context::default())?.write(path("merged.safetensors"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The way data flows
//! | step | asked with | gives |
//! |---|---|---|
//! | open | [`Blueprint`] | [`Model`], [`Pair`] |
//! | which units may be exchanged | | [`Symmetry`], tested by [`Pair::ensure`]; counted as [`Overview`] |
//! | match | [`Align`], a [`Method`] | [`Aligned`] |
//! | act with it | [`Apply`] | [`apply`]: a file |
//! | merge, repair | [`Merge`], [`Repair`] | [`Merged`]: a file, or tensors |
//! | merge many | [`Many`], [`MergeMany`] | [`Mean`] |
//! | merge as a file of mergekit's says | [`MergeFile`] | [`Combined`] |
//! | carry a fine-tune to another base | [`Rebase`] | [`rebase`]: [`Rebased`] |
//! | evaluate | [`Measure`] | [`Report`] |
//!
//! Every step is one function with one options struct. Options are plain data: they have defaults, and serde reads and writes
//! them. What is no option comes in a [`Context`]: samples, a device, and an [`Observer`], who hears how it goes and may stop
//! it. Work runs on the threads it is called from ([`Threads`]); results are the same bytes whatever their number.
//!
//! # Where a network comes from
//! Which units may be exchanged is discovered from the network's graph. An ONNX file brings its own; for a checkpoint
//! (safetensors, torch, NumPy, Flax, folders of shards) a [`Blueprint`] names a built-in network, an ONNX export or a symmetry
//! file. Networks made in memory are [`Model::of`] a built-in [`Network`], [`Model::with_graph`], or [`Model::with_symmetry`].
//!
//! # Your own data, device, similarity
//! Samples are anything that implements [`Samples`], whose methods return [`nn::Result`]; [`Arrays`] holds them in memory. How answers are judged is a [`Task`]:
//! classes, tokens, values, or the network's own loss. A similarity of your own is a [`Source`], for [`Pair::align_by`].
//!
//! # Going deeper
//! The parts are crates of their own, and re-exported: [`core`] (tensors, graphs, symmetries, assignment, matching, merging),
//! [`io`] (formats), [`nn`] (networks that run).

mod account;
mod align;
mod alike;
mod apply;
mod barrier;
mod beside;
mod blueprint;
mod by_parts;
mod context;
mod device;
mod error;
mod frame;
mod graph_file;
mod inputs;
mod kept;
mod many;
mod merge;
mod merge_file;
mod model;
mod names;
mod observer;
mod overview;
mod pair;
mod rebase;
mod repair;
mod shares;
mod solving;
mod threads;
mod unused;
mod vocabulary;
mod width;
mod written;

pub use account::Account;
pub use align::{Align, Aligned, MadeFor, Method, StraightThrough};
pub use apply::{Apply, apply};
pub use barrier::Measure;
pub use blueprint::Blueprint;
pub use context::Context;
pub use device::{Device, Precision};
pub use error::{Error, Result};
pub use frame::{Frame, Turned};
pub use many::{Many, Mean, Measured, MergeMany, OfClass, PairBarrier, Reached, Together};
pub use merge::{Merge, Merged};
pub use merge_file::{Combined, MergeFile, Part, Rule};
pub use model::Model;
pub use observer::{Level, Observer, Progress, Quiet, Step};
pub use overview::{
    AxisPart, Folded, FoldedLayer, Frozen, Kind, Overview, Run, SeenAxis, SeenGroup, SeenLayer, SeenTensor, Share,
};
pub use pair::Pair;
pub use rebase::{Gained, Rebase, Rebased, rebase};
pub use repair::Repair;
pub use solving::Solving;
pub use threads::Threads;
pub use unused::{Differs, Likely, Unused};
pub use written::{ACCURACY, Written, provenance};

pub use onebasin_core as core;
pub use onebasin_core::barrier::Barrier;
pub use onebasin_core::graph::Graph;
pub use onebasin_core::matching::{Order, Source, Start};
pub use onebasin_core::merge::Interpolation;
pub use onebasin_core::report::{Curve, Report};
pub use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
pub use onebasin_core::{DType, Params, Perm, Tensor};
pub use onebasin_io as io;
pub use onebasin_nn as nn;
pub use onebasin_nn::Network;
pub use onebasin_nn::check::Check;
pub use onebasin_nn::samples::{Arrays, Field, FieldKind, Samples};
pub use onebasin_nn::task::Task;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
