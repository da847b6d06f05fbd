//! Bytes to networks.
