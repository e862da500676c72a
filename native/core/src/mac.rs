//! MACs of messages and tickets: `sipmikey.keys.mac`.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::fault::{Fault, Kind, Outcome};
use crate::prf::Keyed;

/// Return the MAC over the parts, as long as the algorithm says at the front of the array.
pub fn compute_mac(mac_alg: u8, auth_key: &[u8], covered: &[&[u8]]) -> Outcome<(Zeroizing<[u8; 32]>, usize)> {
    let context = match mac_alg {
        1 => Keyed::sha1(auth_key)?,
        2 => Keyed::sha256(auth_key)?,
        _ => return Err(Fault::new(Kind::Local, "the NULL MAC protects nothing and is never used")),
    };
    Ok((context.run(covered), context.length()))
}

/// Tell in constant time whether two strings of octets are the same.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// Fail unless `mac` is that of the parts.
pub fn verify_mac(
    mac_alg: u8,
    auth_key: &[u8],
    covered: &[&[u8]],
    mac: &[u8],
    what: impl FnOnce() -> String,
) -> Outcome<()> {
    let (computed, length) = compute_mac(mac_alg, auth_key, covered)?;
    if same(computed.get(..length).unwrap_or_default(), mac) {
        return Ok(());
    }
    Err(Fault::of(Kind::Authentication, "the MAC does not verify", what()))
}
