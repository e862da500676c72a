//! Labels of every key derivation of MIKEY-TICKET: `sipmikey.keys.derivation`.

use crate::fault::{Fault, Kind, Outcome};
use crate::prf::{Octets, Prf};
use crate::registry::{encr_alg, mac_length};

/// Constants of RFC 3830 tables 4.1.3 and 4.1.4, RFC 6043 tables 5.1 and A.1.
pub mod constant {
    #![allow(missing_docs)]
    pub const ENCRYPTION_KEY: [u8; 4] = [0x15, 0x05, 0x33, 0xE1];
    pub const AUTHENTICATION_KEY: [u8; 4] = [0x2D, 0x22, 0xAC, 0x75];
    pub const SALT_KEY: [u8; 4] = [0x29, 0xB8, 0x89, 0x16];
    pub const SESSION_TEK: [u8; 4] = [0x2A, 0xD0, 0x1C, 0x64];
    pub const SESSION_SALT: [u8; 4] = [0x39, 0xA2, 0xC1, 0x4B];
    pub const FORKED_MPK_R: [u8; 4] = [0x2B, 0x28, 0x88, 0x56];
    pub const FORKED_TGK: [u8; 4] = [0x15, 0x12, 0xB5, 0x4A];
    pub const TICKET_MPK_I: [u8; 4] = [0x22, 0x0E, 0x99, 0xA2];
    pub const TICKET_MPK_R: [u8; 4] = [0x1F, 0x4D, 0x67, 0x5B];
}

/// Stand in the label where no crypto session or bundle is meant.
pub const NO_CS_ID: u8 = 0xFF;
/// CSB ID where none is meant.
pub const NO_CSB_ID: u32 = 0xFFFF_FFFF;

/// Return a RAND with its length before it; it has at most 255 octets.
fn push_with_length(label: &mut Vec<u8>, rand: &[u8]) -> Outcome<()> {
    let Ok(length) = u8::try_from(rand.len()) else {
        return Err(Fault::new(Kind::Local, "a RAND has at most 255 octets"));
    };
    label.push(length);
    label.extend_from_slice(rand);
    Ok(())
}

/// Return the label without its constant: CS ID, CSB ID, number, and each RAND with its length.
pub fn label_tail(cs_id: u8, csb_id: u32, number: u8, rands: &[&[u8]]) -> Outcome<Vec<u8>> {
    let mut tail = Vec::with_capacity(80);
    tail.push(cs_id);
    tail.extend_from_slice(&csb_id.to_be_bytes());
    tail.push(number);
    for rand in rands {
        push_with_length(&mut tail, rand)?;
    }
    Ok(tail)
}

/// Gives encr_key, salt_key and auth_key of one message or ticket.
pub struct Protection<'a> {
    /// The PRF, keyed.
    pub prf: &'a Prf,
    /// The label without its constant.
    pub tail: &'a [u8],
}

impl Protection<'_> {
    fn derive(&self, constant: [u8; 4], length: usize) -> Outcome<Octets> {
        self.prf.derive(&[&constant, self.tail], 8 * length)
    }

    /// Return the encryption key: 16 or 32 bytes.
    pub fn encr_key(&self, algorithm: u8) -> Outcome<Octets> {
        self.derive(constant::ENCRYPTION_KEY, if algorithm == encr_alg::AES_CM_256 { 32 } else { 16 })
    }

    /// Return the salting key: 14 bytes for AES-CM, 8 for AES key wrap.
    pub fn salt_key(&self, algorithm: u8) -> Outcome<Octets> {
        self.derive(constant::SALT_KEY, if algorithm == encr_alg::AES_KW_128 { 8 } else { 14 })
    }

    /// Return the authentication key, as long as the MAC.
    pub fn auth_key(&self, mac_alg: u8) -> Outcome<Octets> {
        self.derive(constant::AUTHENTICATION_KEY, mac_length(mac_alg).unwrap_or(0))
    }
}

/// Derive MPKi and MPKr from a ticket's MPK (RFC 6043 Appendix A.2.2).
pub fn derive_mpks(func: u8, mpk: &[u8], rand: &[u8]) -> Outcome<(Octets, Octets)> {
    let prf = Prf::new(func, mpk)?;
    let tail = label_tail(NO_CS_ID, NO_CSB_ID, 6, &[rand])?;
    let bits = mpk.len().saturating_mul(8);
    Ok((
        prf.derive(&[&constant::TICKET_MPK_I, &tail], bits)?,
        prf.derive(&[&constant::TICKET_MPK_R, &tail], bits)?,
    ))
}

/// Return MPKr' or TGK', as long as the key (RFC 6043 section 5.1.1).
pub fn fork(func: u8, constant: [u8; 4], key: &[u8], id_data: &[u8], rand_kms: &[u8]) -> Outcome<Octets> {
    let Ok(length) = u16::try_from(id_data.len()) else {
        return Err(Fault::new(Kind::Local, "ID Data has at most 65535 octets"));
    };
    let mut tail = label_tail(NO_CS_ID, NO_CSB_ID, 0, &[])?;
    tail.extend_from_slice(&length.to_be_bytes());
    tail.extend_from_slice(id_data);
    push_with_length(&mut tail, rand_kms)?;
    Prf::new(func, key)?.derive(&[&constant, &tail], key.len().saturating_mul(8))
}
