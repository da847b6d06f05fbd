//! Data sets, training, experiments and figures, as one program of tests.

mod browser;
mod checkpoints;
mod cifar;
mod cifar10;
mod common;
mod experiments;
mod figures;
mod network;
mod photographs;
mod repair;
mod reports;
mod straight_through;
mod training;
mod verdicts;
