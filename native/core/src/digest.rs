//! SHA-256.

use sha2::{Digest, Sha256};

/// Return the digest of the parts, joined.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut running = Sha256::new();
    for part in parts {
        running.update(part);
    }
    running.finalize().into()
}
