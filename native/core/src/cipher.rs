//! Encryption of key data in a KEMAC: AES in counter mode and AES key wrap, as in `sipmikey.keys.transport`.

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use zeroize::Zeroizing;

use crate::fault::{Fault, Kind, Outcome};
use crate::mac::same;
use crate::prf::Octets;

const KW_BLOCK: usize = 8;

type Ctr<C> = ctr::Ctr128BE<C>;

#[cold]
fn unfit_key() -> Box<Fault> {
    Fault::new(Kind::Local, "unfit AES key")
}

/// Run AES in counter mode over `data` with IV = (S XOR (0x0000 || CSB ID || T)) || 0x0000.
///
/// `key` has 16 or 32 bytes, `salt` 14; `timestamp` are the 8 octets of T. Encrypts and decrypts.
pub fn aes_cm(key: &[u8], salt: &[u8], csb_id: u32, timestamp: u64, data: &[u8]) -> Outcome<Octets> {
    let mut iv = Zeroizing::new([0_u8; 16]);
    for (to, from) in iv.iter_mut().zip(salt) {
        *to = *from;
    }
    let mask = u128::from(csb_id) << 64 | u128::from(timestamp);
    for (to, from) in iv.iter_mut().zip((mask << 16).to_be_bytes()) {
        *to ^= from;
    }
    let mut result = Zeroizing::new(data.to_vec());
    if key.len() == 16 {
        Ctr::<Aes128>::new_from_slices(key, iv.as_slice())
            .map_err(|_| unfit_key())?
            .apply_keystream(&mut result);
    } else {
        Ctr::<Aes256>::new_from_slices(key, iv.as_slice())
            .map_err(|_| unfit_key())?
            .apply_keystream(&mut result);
    }
    Ok(result)
}

fn joined(a: &[u8], block: &[u8]) -> Array<u8, aes::cipher::consts::U16> {
    let mut both = Array::default();
    for (to, from) in both.iter_mut().zip(a.iter().chain(block)) {
        *to = *from;
    }
    both
}

/// Wrap key data, RFC 3394 section 2.2.1 with the salting key of 8 bytes as initial value.
pub fn wrap(key: &[u8], salt: &[u8], plaintext: &[u8]) -> Outcome<Octets> {
    if plaintext.len() % KW_BLOCK != 0 || plaintext.len() < 2 * KW_BLOCK {
        let detail = format!("AES key wrap takes whole 8-octet blocks, not {} octets", plaintext.len());
        return Err(Fault::new(Kind::Local, detail));
    }
    let aes = Aes128::new_from_slice(key).map_err(|_| unfit_key())?;
    let mut a = Zeroizing::new([0_u8; KW_BLOCK]);
    a.iter_mut().zip(salt).for_each(|(to, from)| *to = *from);
    let mut blocks = Zeroizing::new(plaintext.to_vec());
    let mut counter: u64 = 0;
    for _ in 0..6 {
        for block in blocks.chunks_exact_mut(KW_BLOCK) {
            counter += 1;
            let mut both = joined(a.as_slice(), block);
            aes.encrypt_block(&mut both);
            let (high, low) = both.split_at(KW_BLOCK);
            a.iter_mut()
                .zip(high)
                .zip(counter.to_be_bytes())
                .for_each(|((to, from), mask)| *to = from ^ mask);
            block.copy_from_slice(low);
        }
    }
    let mut wrapped = Zeroizing::new(Vec::with_capacity(blocks.len() + KW_BLOCK));
    wrapped.extend_from_slice(a.as_slice());
    wrapped.extend_from_slice(&blocks);
    Ok(wrapped)
}

/// Unwrap key data, RFC 3394 section 2.2.2 with the salting key of 8 bytes as initial value.
pub fn unwrap(key: &[u8], salt: &[u8], wrapped: &[u8], what: &str) -> Outcome<Octets> {
    let field = || format!("{what} Encr data");
    if wrapped.len() % KW_BLOCK != 0 || wrapped.len() < 3 * KW_BLOCK {
        return Err(Fault::of(Kind::Malformed, "AES key wrap gives whole 8-octet blocks", field()));
    }
    let aes = Aes128::new_from_slice(key).map_err(|_| unfit_key())?;
    let (initial, rest) = wrapped.split_at(KW_BLOCK);
    let mut a = Zeroizing::new([0_u8; KW_BLOCK]);
    a.copy_from_slice(initial);
    let mut blocks = Zeroizing::new(rest.to_vec());
    let mut counter = 6 * (blocks.len() / KW_BLOCK) as u64;
    for _ in 0..6 {
        for block in blocks.chunks_exact_mut(KW_BLOCK).rev() {
            a.iter_mut().zip(counter.to_be_bytes()).for_each(|(to, mask)| *to ^= mask);
            let mut both = joined(a.as_slice(), block);
            aes.decrypt_block(&mut both);
            let (high, low) = both.split_at(KW_BLOCK);
            a.copy_from_slice(high);
            block.copy_from_slice(low);
            counter -= 1;
        }
    }
    if !same(a.as_slice(), salt) {
        return Err(Fault::of(Kind::Malformed, "the key wrap does not verify", field()));
    }
    Ok(blocks)
}
