//! The program as its users see it, in one program, since linking costs more than running.

mod bad_input;
#[cfg(all(feature = "cuda", target_os = "linux"))]
mod device;
mod outputs;
#[cfg(unix)]
mod reproduce;
mod workflow;
