//! MIKEY (RFC 3830) and MIKEY-TICKET (RFC 6043) without Python: codec, key derivation, SRTP.
//!
//! The Python package `sipmikey` is the reference. What stands here does the same, octet for octet and
//! fault for fault; module names say which module of the package they repeat.
#![forbid(unsafe_code)]

pub mod cipher;
pub mod derivation;
pub mod digest;
pub mod fault;
pub mod header;
pub mod kemac;
pub mod limits;
pub mod mac;
pub mod message;
pub mod payload;
pub mod policy;
pub mod prf;
pub mod reader;
pub mod registry;
pub mod rtp;
pub mod srtp;
pub mod transport;
