//! MIKEY-1 and PRF-HMAC-SHA-256: `sipmikey.keys.prf`.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::fault::{Fault, Kind, Outcome};

/// The inkey is split into blocks of 256 bits, whichever the hash.
const BLOCK_LENGTH: usize = 32;

/// Octets that are erased when dropped.
pub type Octets = Zeroizing<Vec<u8>>;

/// HMAC with its key set.
#[derive(Clone)]
pub enum Keyed {
    /// HMAC-SHA-1.
    Sha1(Hmac<Sha1>),
    /// HMAC-SHA-256.
    Sha256(Hmac<Sha256>),
}

impl Keyed {
    /// Key HMAC-SHA-1; a key has any length.
    pub fn sha1(key: &[u8]) -> Outcome<Self> {
        Hmac::new_from_slice(key).map(Self::Sha1).map_err(|_| Fault::new(Kind::Local, "unfit HMAC key"))
    }

    /// Key HMAC-SHA-256; a key has any length.
    pub fn sha256(key: &[u8]) -> Outcome<Self> {
        Hmac::new_from_slice(key).map(Self::Sha256).map_err(|_| Fault::new(Kind::Local, "unfit HMAC key"))
    }

    /// Return the length of the result, in bytes.
    pub fn length(&self) -> usize {
        match self {
            Self::Sha1(_) => 20,
            Self::Sha256(_) => 32,
        }
    }

    /// Return HMAC over the parts, 20 or 32 bytes at the front of the array.
    pub fn run(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        self.run_after(&[], parts)
    }

    /// Return HMAC over `head` and then the parts.
    fn run_after(&self, head: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut result = Zeroizing::new([0; 32]);
        match self {
            Self::Sha1(context) => finish(context, head, parts, &mut result),
            Self::Sha256(context) => finish(context, head, parts, &mut result),
        }
        result
    }
}

fn finish<M: Mac + Clone>(context: &M, head: &[u8], parts: &[&[u8]], result: &mut [u8; 32]) {
    let mut running = context.clone();
    running.update(head);
    for part in parts {
        running.update(part);
    }
    for (to, from) in result.iter_mut().zip(running.finalize().into_bytes()) {
        *to = from;
    }
}

/// A PRF with its inkey set.
pub struct Prf {
    contexts: Vec<Keyed>,
}

impl Prf {
    /// Key the PRF with number `func`; the inkey has at least one octet.
    pub fn new(func: u8, inkey: &[u8]) -> Outcome<Self> {
        if inkey.is_empty() {
            return Err(Fault::new(Kind::Local, "a PRF needs an inkey"));
        }
        let key = if func == 0 { Keyed::sha1 } else { Keyed::sha256 };
        Ok(Self { contexts: inkey.chunks(BLOCK_LENGTH).map(key).collect::<Outcome<_>>()? })
    }

    /// Return the `bits` most significant bits of PRF(inkey, label), the label given in parts.
    ///
    /// Where the count is no multiple of 8 the last octet is filled with zero bits.
    pub fn derive(&self, label: &[&[u8]], bits: usize) -> Outcome<Octets> {
        if bits < 1 {
            return Err(Fault::new(Kind::Local, "an outkey has at least one bit"));
        }
        let length = bits.div_ceil(8);
        let mut outkey = Zeroizing::new(vec![0; length]);
        for context in &self.contexts {
            p(context, label, &mut outkey);
        }
        if let (Some(last), surplus @ 1..) =
            (outkey.last_mut(), length.saturating_mul(8).saturating_sub(bits))
        {
            *last &= 0xFF_u8.wrapping_shl(u32::try_from(surplus).unwrap_or(0));
        }
        Ok(outkey)
    }
}

/// XOR P(s, label, m) of RFC 3830 section 4.1.2 into `outkey`, for the s that `context` is keyed with.
fn p(context: &Keyed, label: &[&[u8]], outkey: &mut [u8]) {
    let length = context.length();
    let mut a = context.run(label);
    let mut first = true;
    for chunk in outkey.chunks_mut(length) {
        if !first {
            let next = context.run(&[front(&a, length)]);
            a = next;
        }
        first = false;
        let block = context.run_after(front(&a, length), label);
        for (to, from) in chunk.iter_mut().zip(block.iter()) {
            *to ^= from;
        }
    }
}

fn front(octets: &[u8; 32], length: usize) -> &[u8] {
    octets.get(..length).unwrap_or_default()
}
