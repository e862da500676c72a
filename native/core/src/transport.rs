//! Encrypting and decrypting the key data of a KEMAC: `sipmikey.keys.transport`.

use crate::cipher::{aes_cm, unwrap, wrap};
use crate::derivation::Protection;
use crate::fault::{Fault, Kind, Outcome};
use crate::prf::Octets;
use crate::registry::encr_alg;

/// Encrypt the plaintext of a KEMAC. `timestamp` are the 8 octets of T as a number.
pub fn seal(
    algorithm: u8,
    protection: &Protection<'_>,
    csb_id: u32,
    timestamp: u64,
    plaintext: &[u8],
) -> Outcome<Octets> {
    if algorithm == encr_alg::NULL {
        return Err(Fault::new(Kind::Local, "keys are never sent without encryption"));
    }
    let encr_key = protection.encr_key(algorithm)?;
    let salt_key = protection.salt_key(algorithm)?;
    if algorithm == encr_alg::AES_KW_128 {
        wrap(&encr_key, &salt_key, plaintext)
    } else {
        aes_cm(&encr_key, &salt_key, csb_id, timestamp, plaintext)
    }
}

/// Decrypt the key data of a KEMAC of algorithm `algorithm` and MAC algorithm `mac_alg`.
pub fn open(
    algorithm: u8,
    mac_alg: u8,
    protection: &Protection<'_>,
    csb_id: u32,
    timestamp: u64,
    encr_data: &[u8],
    what: &str,
) -> Outcome<Octets> {
    if mac_alg != 0 {
        let field = format!("{what} KEMAC Mac alg");
        return Err(Fault::of(Kind::Mac, "must be NULL: the message has a V payload", field));
    }
    if algorithm == encr_alg::NULL {
        let field = format!("{what} KEMAC Encr alg");
        return Err(Fault::of(Kind::Encryption, "keys without encryption are refused", field));
    }
    let encr_key = protection.encr_key(algorithm)?;
    let salt_key = protection.salt_key(algorithm)?;
    if algorithm == encr_alg::AES_KW_128 {
        unwrap(&encr_key, &salt_key, encr_data, what)
    } else {
        aes_cm(&encr_key, &salt_key, csb_id, timestamp, encr_data)
    }
}
