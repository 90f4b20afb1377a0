//! What SafeShipper's processes and clients say to each other: ids, frames, codec, envelope, subjects,
//! codes, claims and limits.
//!
//! Architecture Invariant: this crate does no I/O, knows no clock and no runtime. Whatever needs the time or
//! randomness takes it as an argument, so that every rule here can be tested as a table.
#![warn(missing_docs)]

pub mod changes;
pub mod claims;
pub mod codec;
pub mod codes;
pub mod control;
pub mod development;
pub mod digest;
pub mod envelope;
pub mod ephemeral;
pub mod frames;
pub mod ids;
pub mod limits;
pub mod message;
pub mod msgpack;
pub mod permissions;
pub mod requests;
pub mod subjects;
pub mod time;
