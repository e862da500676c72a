//! SRTP and SRTCP (RFC 3711, RFC 6188, RFC 7714): one key, one SSRC, one direction.
//!
//! Packets and their order are judged as libsrtp judges them, which is the engine of the Python endpoint.

use aes::cipher::{Array, InnerIvInit, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes128Enc, Aes192, Aes192Enc, Aes256, Aes256Enc};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce, Tag};
use ctr::{Ctr128BE, CtrCore, flavors};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::fault::{Fault, Kind, Outcome};
use crate::prf::{Keyed, Octets};

const RTP_HEADER: usize = 12;
const RTCP_HEADER: usize = 8;
const INDEX_LENGTH: usize = 4;
const E_FLAG: u32 = 1 << 31;
const WINDOW: u64 = 1024;
const WINDOW_WORDS: usize = 16;
const RTCP_WINDOW: u32 = 128;
const HALF: u64 = 1 << 15;
const GCM_TAG: usize = 16;
/// Packets that one key may protect (RFC 3711 section 9.2).
const LAST_INDEX: u64 = 1 << 48;

/// Why a packet is refused: values of the class `SrtpError` of the Python package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The tag does not verify.
    Authentication,
    /// The packet was seen before, or sent before.
    Replayed,
    /// The packet is older than the replay window.
    TooOld,
    /// The packet cannot hold header, MKI and tag.
    TooShort,
    /// The SSRC is not that of the key.
    OtherSsrc,
    /// The header does not parse.
    Malformed,
    /// The MKI is another.
    MkiUnknown,
    /// The key has protected as many packets as it may.
    KeyExpired,
}

/// A combination of transforms; lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// AES-GCM, else AES-CM with HMAC-SHA-1.
    pub aead: bool,
    /// Length of the master key: 16, 24 or 32.
    pub key_length: usize,
    /// Length of the SRTP tag.
    pub tag_length: usize,
    /// Length of the SRTCP tag.
    pub rtcp_tag_length: usize,
}

enum Cipher {
    Cm128(Box<Aes128Enc>),
    Cm192(Box<Aes192Enc>),
    Cm256(Box<Aes256Enc>),
    Gcm128(Box<Aes128Gcm>),
    Gcm256(Box<Aes256Gcm>),
}

/// Session keys of SRTP or of SRTCP.
struct Session {
    cipher: Cipher,
    auth: Option<Keyed>,
    salt: Zeroizing<[u8; 14]>,
}

fn bad_key() -> Box<Fault> {
    Fault::new(Kind::Local, "a master key or salt of another length than the profile's")
}

/// Derive `length` octets of a session key (RFC 3711 section 4.3.3; RFC 6188, RFC 7714).
fn derive(master: &[u8], salt: &[u8], label: u8, length: usize) -> Outcome<Octets> {
    let mut iv = Zeroizing::new([0_u8; 16]);
    iv.iter_mut().zip(salt).for_each(|(to, from)| *to = *from);
    if let Some(octet) = iv.get_mut(7) {
        *octet ^= label;
    }
    let mut key = Zeroizing::new(vec![0; length]);
    match master.len() {
        16 => run::<Aes128>(master, &iv, &mut key)?,
        24 => run::<Aes192>(master, &iv, &mut key)?,
        32 => run::<Aes256>(master, &iv, &mut key)?,
        _ => return Err(bad_key()),
    }
    Ok(key)
}

fn run<C>(key: &[u8], iv: &[u8; 16], data: &mut [u8]) -> Outcome<()>
where
    Ctr128BE<C>: KeyIvInit + StreamCipher,
    C: aes::cipher::BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>,
{
    Ctr128BE::<C>::new_from_slices(key, iv).map_err(|_| bad_key())?.apply_keystream(data);
    Ok(())
}

/// The session keys of SRTP.
pub struct SessionKeys {
    /// Session encryption key, as long as the master key.
    pub encryption: Octets,
    /// Session authentication key of 20 bytes; empty for AES-GCM.
    pub authentication: Octets,
    /// Session salt, 14 bytes or 12.
    pub salt: Octets,
}

/// Derive the session keys of SRTP from master key and salt.
pub fn session_keys(master: &[u8], salt: &[u8], aead: bool) -> Outcome<SessionKeys> {
    keys_from(master, salt, aead, 0)
}

/// Derive session keys; `label` is 0 for SRTP and 3 for SRTCP.
fn keys_from(master: &[u8], salt: &[u8], aead: bool, label: u8) -> Outcome<SessionKeys> {
    Ok(SessionKeys {
        encryption: derive(master, salt, label, master.len())?,
        authentication: derive(master, salt, label.saturating_add(1), if aead { 0 } else { 20 })?,
        salt: derive(master, salt, label.saturating_add(2), if aead { 12 } else { 14 })?,
    })
}

/// Run AES in counter mode with a key that is set up.
fn keystream<C>(key: &C, iv: &[u8; 16], data: &mut [u8])
where
    C: Clone
        + aes::cipher::BlockCipherEncrypt
        + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>,
{
    let core = CtrCore::<C, flavors::Ctr128BE>::inner_iv_init(key.clone(), &Array(*iv));
    Ctr128BE::from_core(core).apply_keystream(data);
}

impl Session {
    fn new(profile: Profile, keys: &SessionKeys) -> Outcome<Self> {
        let key = &keys.encryption;
        let mut salt = Zeroizing::new([0; 14]);
        salt.iter_mut().zip(keys.salt.iter()).for_each(|(to, from)| *to = *from);
        let auth = if profile.aead { None } else { Some(Keyed::sha1(&keys.authentication)?) };
        let cipher = match (profile.aead, key.len()) {
            (false, 16) => Cipher::Cm128(Box::new(Aes128Enc::new_from_slice(key).map_err(|_| bad_key())?)),
            (false, 24) => Cipher::Cm192(Box::new(Aes192Enc::new_from_slice(key).map_err(|_| bad_key())?)),
            (false, 32) => Cipher::Cm256(Box::new(Aes256Enc::new_from_slice(key).map_err(|_| bad_key())?)),
            (true, 16) => Cipher::Gcm128(Box::new(Aes128Gcm::new_from_slice(key).map_err(|_| bad_key())?)),
            (true, 32) => Cipher::Gcm256(Box::new(Aes256Gcm::new_from_slice(key).map_err(|_| bad_key())?)),
            _ => return Err(bad_key()),
        };
        Ok(Self { cipher, auth, salt })
    }

    /// Encrypt or decrypt by AES-CM (RFC 3711 section 4.1.1).
    fn counter_mode(&self, ssrc: u32, index: u64, data: &mut [u8]) -> Outcome<()> {
        let mut iv = Zeroizing::new([0_u8; 16]);
        iv.iter_mut().zip(self.salt.iter()).for_each(|(to, from)| *to = *from);
        let mask = u128::from(ssrc) << 64 | u128::from(index) << 16;
        iv.iter_mut().zip(mask.to_be_bytes()).for_each(|(to, from)| *to ^= from);
        match &self.cipher {
            Cipher::Cm128(key) => keystream(&**key, &iv, data),
            Cipher::Cm192(key) => keystream(&**key, &iv, data),
            Cipher::Cm256(key) => keystream(&**key, &iv, data),
            _ => return Err(bad_key()),
        }
        Ok(())
    }

    /// Return the nonce of a packet: 12 octets of SSRC and index, whichever, XOR salt (RFC 7714 section 8.1).
    fn nonce(&self, plain: [u8; 12]) -> [u8; 12] {
        let mut nonce = plain;
        nonce.iter_mut().zip(self.salt.iter()).for_each(|(to, from)| *to ^= from);
        nonce
    }

    fn gcm_seal(&self, nonce: [u8; 12], associated: &[u8], data: &mut [u8]) -> Option<Tag> {
        let nonce = Nonce::from(nonce);
        match &self.cipher {
            Cipher::Gcm128(key) => key.encrypt_inout_detached(&nonce, associated, data.into()).ok(),
            Cipher::Gcm256(key) => key.encrypt_inout_detached(&nonce, associated, data.into()).ok(),
            _ => None,
        }
    }

    fn gcm_open(&self, nonce: [u8; 12], associated: &[u8], data: &mut [u8], tag: &[u8]) -> bool {
        let (nonce, Ok(tag)) = (Nonce::from(nonce), Tag::try_from(tag)) else { return false };
        match &self.cipher {
            Cipher::Gcm128(key) => key.decrypt_inout_detached(&nonce, associated, data.into(), &tag).is_ok(),
            Cipher::Gcm256(key) => key.decrypt_inout_detached(&nonce, associated, data.into(), &tag).is_ok(),
            _ => false,
        }
    }

    fn tag(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        self.auth.as_ref().map_or_else(|| Zeroizing::new([0; 32]), |auth| auth.run(parts))
    }
}

/// The packet indices seen: the highest, and which of the last 1024.
struct Window {
    highest: u64,
    used: bool,
    seen: [u64; WINDOW_WORDS],
}

impl Window {
    /// Return the index of a sequence number, as near to the highest as can be (RFC 3711 section 3.3.1).
    fn estimate(&self, seq: u16) -> u64 {
        let seq = u64::from(seq);
        if self.highest <= HALF {
            return seq;
        }
        let (roc, last) = (self.highest >> 16, self.highest & 0xFFFF);
        let roc = if last < HALF {
            if seq > last && seq - last > HALF { roc.saturating_sub(1) } else { roc }
        } else if last - HALF > seq {
            roc + 1
        } else {
            roc
        };
        roc << 16 | seq
    }

    fn bit(index: u64) -> (usize, u64) {
        let place = index % WINDOW;
        ((place / 64) as usize, 1 << (place % 64))
    }

    fn check(&self, index: u64) -> Result<(), Refusal> {
        if index > self.highest {
            return if index >= LAST_INDEX { Err(Refusal::KeyExpired) } else { Ok(()) };
        }
        if self.highest - index >= WINDOW {
            return Err(Refusal::TooOld);
        }
        let (word, bit) = Self::bit(index);
        if self.seen.get(word).is_some_and(|seen| seen & bit != 0) {
            return Err(Refusal::Replayed);
        }
        Ok(())
    }

    fn add(&mut self, index: u64) {
        self.used = true;
        if index > self.highest {
            if index - self.highest >= WINDOW {
                self.seen = [0; WINDOW_WORDS];
            } else {
                for skipped in self.highest + 1..index {
                    let (word, bit) = Self::bit(skipped);
                    self.seen.iter_mut().skip(word).take(1).for_each(|seen| *seen &= !bit);
                }
            }
            self.highest = index;
        }
        let (word, bit) = Self::bit(index);
        self.seen.iter_mut().skip(word).take(1).for_each(|seen| *seen |= bit);
    }
}

/// The SRTCP indices seen.
struct RtcpWindow {
    start: u32,
    seen: u128,
}

impl RtcpWindow {
    fn check(&self, index: u32) -> Result<(), Refusal> {
        if index < self.start {
            return Err(Refusal::TooOld);
        }
        let ahead = index - self.start;
        if ahead < RTCP_WINDOW && self.seen >> ahead & 1 != 0 {
            return Err(Refusal::Replayed);
        }
        Ok(())
    }

    fn add(&mut self, index: u32) {
        let ahead = index.saturating_sub(self.start);
        if ahead >= RTCP_WINDOW {
            let shift = ahead - (RTCP_WINDOW - 1);
            self.seen = self.seen.checked_shr(shift).unwrap_or(0) | 1 << (RTCP_WINDOW - 1);
            self.start += shift;
        } else {
            self.seen |= 1 << ahead;
        }
    }
}

/// One key in one direction.
pub struct Context {
    profile: Profile,
    ssrc: u32,
    mki: Vec<u8>,
    rtp: Session,
    rtcp: Session,
    window: Window,
    rtcp_sent: u32,
    rtcp_window: RtcpWindow,
}

/// Return the length of an RTP header with its CSRCs and extension.
fn header_length(packet: &[u8]) -> Result<usize, Refusal> {
    let first = *packet.first().ok_or(Refusal::TooShort)?;
    let mut length = RTP_HEADER + 4 * usize::from(first & 0xF);
    if first & 0x10 != 0 {
        let words = packet.get(length + 2..length + 4).ok_or(Refusal::Malformed)?;
        length += 4 + 4 * words.iter().fold(0, |words, octet| words << 8 | usize::from(*octet));
    }
    if length > packet.len() { Err(Refusal::Malformed) } else { Ok(length) }
}

fn number(packet: &[u8], at: usize, length: usize) -> u32 {
    let octets = packet.iter().skip(at).take(length);
    octets.fold(0, |number, octet| number << 8 | u32::from(*octet))
}

/// Split octets where that many are left after.
fn split_end(packet: &[u8], count: usize) -> Result<(&[u8], &[u8]), Refusal> {
    let at = packet.len().checked_sub(count).ok_or(Refusal::TooShort)?;
    Ok(packet.split_at(at))
}

impl Context {
    /// Set up a key; `after` is the packet index that counts as already used.
    pub fn new(
        profile: Profile,
        master: &[u8],
        salt: &[u8],
        ssrc: u32,
        mki: &[u8],
        after: Option<u64>,
    ) -> Outcome<Self> {
        if master.len() != profile.key_length || salt.len() != if profile.aead { 12 } else { 14 } {
            return Err(bad_key());
        }
        let keys = [0, 3].map(|label| keys_from(master, salt, profile.aead, label));
        let [rtp, rtcp] = keys;
        let mut context = Self::keyed(profile, &rtp?, &rtcp?, ssrc, mki)?;
        if let Some(after) = after {
            context.window.add(after);
            context.window.used = false;
        }
        Ok(context)
    }

    fn keyed(
        profile: Profile,
        rtp: &SessionKeys,
        rtcp: &SessionKeys,
        ssrc: u32,
        mki: &[u8],
    ) -> Outcome<Self> {
        Ok(Self {
            profile,
            ssrc,
            mki: mki.to_vec(),
            rtp: Session::new(profile, rtp)?,
            rtcp: Session::new(profile, rtcp)?,
            window: Window { highest: 0, used: false, seen: [0; WINDOW_WORDS] },
            rtcp_sent: 0,
            rtcp_window: RtcpWindow { start: 0, seen: 0 },
        })
    }

    /// Set up an AES-GCM context whose session key and salt are given: the vectors of RFC 7714 are of these.
    #[doc(hidden)]
    pub fn with_session_keys(profile: Profile, key: &[u8], salt: &[u8], ssrc: u32) -> Outcome<Self> {
        let octets = |octets: &[u8]| Octets::new(octets.to_vec());
        let keys = SessionKeys { encryption: octets(key), authentication: octets(&[]), salt: octets(salt) };
        Self::keyed(profile, &keys, &keys, ssrc, &[])
    }

    /// Return the highest index of a packet protected or authenticated, none before the first.
    pub fn index(&self) -> Option<u64> {
        self.window.used.then_some(self.window.highest)
    }

    /// Count SRTCP packets as sent.
    pub fn advance_rtcp(&mut self, packets: u32) {
        self.rtcp_sent = self.rtcp_sent.saturating_add(packets);
    }

    fn rtp_nonce(&self, index: u64) -> [u8; 12] {
        let [a, b, c, d] = self.ssrc.to_be_bytes();
        let [_, _, e, f, g, h, i, j] = index.to_be_bytes();
        self.rtp.nonce([0, 0, a, b, c, d, e, f, g, h, i, j])
    }

    fn rtcp_nonce(&self, index: u32) -> [u8; 12] {
        let [a, b, c, d] = self.ssrc.to_be_bytes();
        let [e, f, g, h] = index.to_be_bytes();
        self.rtcp.nonce([0, 0, a, b, c, d, 0, 0, e, f, g, h])
    }

    /// Protect an RTP packet.
    pub fn protect(&mut self, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        let header = header_length(packet)?;
        if number(packet, 8, 4) != self.ssrc {
            return Err(Refusal::OtherSsrc);
        }
        let index = self.window.estimate(number(packet, 2, 2) as u16);
        self.window.check(index)?;
        let mut out = Vec::with_capacity(packet.len() + GCM_TAG + self.mki.len());
        out.extend_from_slice(packet);
        let (clear, payload) = out.split_at_mut(header);
        if self.profile.aead {
            let tag = self.rtp.gcm_seal(self.rtp_nonce(index), clear, payload).ok_or(Refusal::KeyExpired)?;
            out.extend_from_slice(&tag);
            out.extend_from_slice(&self.mki);
        } else {
            self.rtp.counter_mode(self.ssrc, index, payload).map_err(|_| Refusal::KeyExpired)?;
            let tag = self.rtp.tag(&[&out, &((index >> 16) as u32).to_be_bytes()]);
            out.extend_from_slice(&self.mki);
            out.extend_from_slice(tag.get(..self.profile.tag_length).unwrap_or_default());
        }
        self.window.add(index);
        Ok(out)
    }

    /// Take the MKI out of what is before (AES-CM) or after (AES-GCM) the tag; return the rest.
    fn without_mki<'a>(&self, packet: &'a [u8], tag: usize) -> Result<(&'a [u8], &'a [u8]), Refusal> {
        let (before, mki, tag) = if self.profile.aead {
            let (before, mki) = split_end(packet, self.mki.len())?;
            (before, mki, &[][..])
        } else {
            let (before, tag) = split_end(packet, tag)?;
            let (before, mki) = split_end(before, self.mki.len())?;
            (before, mki, tag)
        };
        if mki == self.mki { Ok((before, tag)) } else { Err(Refusal::MkiUnknown) }
    }

    /// Authenticate and decrypt an SRTP packet.
    pub fn unprotect(&mut self, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        if packet.len() < RTP_HEADER + self.profile.tag_length + self.mki.len() {
            return Err(Refusal::TooShort);
        }
        let (packet, tag) = self.without_mki(packet, self.profile.tag_length)?;
        let header = header_length(packet)?;
        if number(packet, 8, 4) != self.ssrc {
            return Err(Refusal::OtherSsrc);
        }
        let index = self.window.estimate(number(packet, 2, 2) as u16);
        self.window.check(index)?;
        let mut out;
        if self.profile.aead {
            let (sealed, tag) = split_end(packet, GCM_TAG)?;
            if header > sealed.len() {
                return Err(Refusal::Malformed);
            }
            out = sealed.to_vec();
            let nonce = self.rtp_nonce(index);
            let (clear, payload) = out.split_at_mut(header);
            if !self.rtp.gcm_open(nonce, clear, payload, tag) {
                return Err(Refusal::Authentication);
            }
        } else {
            let computed = self.rtp.tag(&[packet, &((index >> 16) as u32).to_be_bytes()]);
            if !bool::from(computed.get(..tag.len()).unwrap_or_default().ct_eq(tag)) {
                return Err(Refusal::Authentication);
            }
            out = packet.to_vec();
            let payload = out.get_mut(header..).unwrap_or_default();
            self.rtp.counter_mode(self.ssrc, index, payload).map_err(|_| Refusal::KeyExpired)?;
        }
        self.window.add(index);
        Ok(out)
    }

    /// Protect a compound RTCP packet.
    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        if packet.len() < RTCP_HEADER {
            return Err(Refusal::TooShort);
        }
        if number(packet, 4, 4) != self.ssrc {
            return Err(Refusal::OtherSsrc);
        }
        let index = self.rtcp_sent.saturating_add(1);
        if index >= E_FLAG {
            return Err(Refusal::KeyExpired);
        }
        let word = (E_FLAG | index).to_be_bytes();
        let mut out = Vec::with_capacity(packet.len() + INDEX_LENGTH + GCM_TAG + self.mki.len());
        out.extend_from_slice(packet);
        let (clear, payload) = out.split_at_mut(RTCP_HEADER);
        if self.profile.aead {
            let associated = [&*clear, &word[..]].concat();
            let nonce = self.rtcp_nonce(index);
            let tag = self.rtcp.gcm_seal(nonce, &associated, payload).ok_or(Refusal::KeyExpired)?;
            out.extend_from_slice(&tag);
            out.extend_from_slice(&word);
            out.extend_from_slice(&self.mki);
        } else {
            self.rtcp.counter_mode(self.ssrc, index.into(), payload).map_err(|_| Refusal::KeyExpired)?;
            out.extend_from_slice(&word);
            let tag = self.rtcp.tag(&[&out]);
            out.extend_from_slice(&self.mki);
            out.extend_from_slice(tag.get(..self.profile.rtcp_tag_length).unwrap_or_default());
        }
        self.rtcp_sent = index;
        Ok(out)
    }

    /// Authenticate and decrypt an SRTCP packet.
    pub fn unprotect_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        let tag_length = self.profile.rtcp_tag_length;
        if packet.len() < RTCP_HEADER + INDEX_LENGTH + tag_length + self.mki.len() {
            return Err(Refusal::TooShort);
        }
        let (packet, tag) = self.without_mki(packet, tag_length)?;
        if number(packet, 4, 4) != self.ssrc {
            return Err(Refusal::OtherSsrc);
        }
        let (before, word) = split_end(packet, INDEX_LENGTH)?;
        let value = number(word, 0, INDEX_LENGTH);
        if value & E_FLAG == 0 {
            return Err(Refusal::Authentication);
        }
        let index = value & !E_FLAG;
        self.rtcp_window.check(index)?;
        let mut out;
        if self.profile.aead {
            let (sealed, tag) = split_end(before, GCM_TAG)?;
            out = sealed.to_vec();
            let nonce = self.rtcp_nonce(index);
            let associated = [sealed.get(..RTCP_HEADER).unwrap_or_default(), word].concat();
            let payload = out.get_mut(RTCP_HEADER..).unwrap_or_default();
            if !self.rtcp.gcm_open(nonce, &associated, payload, tag) {
                return Err(Refusal::Authentication);
            }
        } else {
            let computed = self.rtcp.tag(&[packet]);
            if !bool::from(computed.get(..tag.len()).unwrap_or_default().ct_eq(tag)) {
                return Err(Refusal::Authentication);
            }
            out = before.to_vec();
            let payload = out.get_mut(RTCP_HEADER..).unwrap_or_default();
            self.rtcp.counter_mode(self.ssrc, index.into(), payload).map_err(|_| Refusal::KeyExpired)?;
        }
        self.rtcp_window.add(index);
        Ok(out)
    }
}
