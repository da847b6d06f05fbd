//! Networks that run.
