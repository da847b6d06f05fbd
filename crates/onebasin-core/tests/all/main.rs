//! The crate as its users see it, in one program, since linking costs more than running.

mod activation;
mod assignment;
mod discover;
mod discover_apart;
mod discover_stacks;
mod discover_unread;
mod extremes;
mod frank_wolfe;
mod laws;
mod many;
mod portfolio;
mod recovery;
mod repair;
mod solve;
mod twins;
mod widen;
