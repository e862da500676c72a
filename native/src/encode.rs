//! Octets of the package's objects.
//!
//! An object of a class not known here, or with a value its class would not have let in, is left to its own
//! `encode_body`, so that whatever Python makes of it happens.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use sipmikey_core::payload::Timestamp;
use sipmikey_core::prf::Octets;
use sipmikey_core::registry::{MIKEY_VERSION, map_type, payload, timestamp_length, validity};

use crate::classes::Classes;
use crate::raise::raise;
use crate::secret::Secret;
use sipmikey_core::fault::{Fault, Kind};

type Object<'py> = Bound<'py, PyAny>;

/// Reads a slot by its interned name.
macro_rules! slot {
    ($object:expr, $name:literal) => {
        $object.getattr(pyo3::intern!($object.py(), $name))?
    };
}
pub(crate) use slot;

#[cold]
fn unfit() -> PyErr {
    PyValueError::new_err("unfit value")
}

fn put8(out: &mut Vec<u8>, value: &Object<'_>) -> PyResult<()> {
    out.push(value.extract::<u8>()?);
    Ok(())
}

fn put_raw(out: &mut Vec<u8>, value: &Object<'_>) -> PyResult<()> {
    out.extend_from_slice(value.cast::<PyBytes>()?.as_bytes());
    Ok(())
}

fn put_short(out: &mut Vec<u8>, value: &Object<'_>) -> PyResult<()> {
    let octets = value.cast::<PyBytes>()?.as_bytes();
    out.push(u8::try_from(octets.len())?);
    out.extend_from_slice(octets);
    Ok(())
}

/// Add octets with two octets of length before them.
pub fn put_long(out: &mut Vec<u8>, octets: &[u8]) -> PyResult<()> {
    out.extend_from_slice(&u16::try_from(octets.len())?.to_be_bytes());
    out.extend_from_slice(octets);
    Ok(())
}

fn put_long_object(out: &mut Vec<u8>, value: &Object<'_>) -> PyResult<()> {
    put_long(out, value.cast::<PyBytes>()?.as_bytes())
}

fn put_timestamp(out: &mut Vec<u8>, timestamp: &Object<'_>) -> PyResult<()> {
    put_stamp(out, slot!(timestamp, "ts_type").extract()?, slot!(timestamp, "value").extract()?)
}

fn put_stamp(out: &mut Vec<u8>, kind: u8, value: u64) -> PyResult<()> {
    out.push(kind);
    match timestamp_length(kind) {
        Some(8) => out.extend_from_slice(&value.to_be_bytes()),
        Some(_) => out.extend_from_slice(&u32::try_from(value)?.to_be_bytes()),
        None => return Err(unfit()),
    }
    Ok(())
}

/// Add key validity data; return KV.
fn put_validity(out: &mut Vec<u8>, spi: &Object<'_>, interval: &Object<'_>) -> PyResult<u8> {
    if !spi.is_none() {
        put_short(out, spi)?;
        return Ok(validity::SPI);
    }
    if interval.is_none() {
        return Ok(validity::NULL);
    }
    put_short(out, &slot!(interval, "valid_from"))?;
    put_short(out, &slot!(interval, "valid_to"))?;
    Ok(validity::INTERVAL)
}

fn set(out: &mut [u8], at: usize, value: u8) {
    if let Some(octet) = out.get_mut(at) {
        *octet = value;
    }
}

fn put_key_data(out: &mut Vec<u8>, key: &Object<'_>) -> PyResult<()> {
    let at = out.len();
    out.push(0);
    put_long(out, slot!(key, "key").cast::<Secret>()?.get().octets())?;
    let salt = slot!(key, "salt");
    if !salt.is_none() {
        put_long(out, salt.cast::<Secret>()?.get().octets())?;
    }
    let kind: u8 = slot!(key, "key_type").extract()?;
    let kv = put_validity(out, &slot!(key, "spi"), &slot!(key, "interval"))?;
    set(out, at, kind.checked_shl(4).unwrap_or(0) | kv);
    Ok(())
}

fn put_policy(out: &mut Vec<u8>, policy: &Object<'_>) -> PyResult<()> {
    put_raw(out, &slot!(policy, "policy_octets"))
}

fn put_sp(out: &mut Vec<u8>, sp: &Object<'_>) -> PyResult<()> {
    put8(out, &slot!(sp, "policy_no"))?;
    put8(out, &slot!(sp, "prot_type"))?;
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    for param in slot!(sp, "params").cast::<PyTuple>()?.iter() {
        put8(out, &slot!(param, "param_type"))?;
        put_short(out, &slot!(param, "value"))?;
    }
    let length = u16::try_from(out.len().saturating_sub(at).saturating_sub(2))?;
    let [high, low] = length.to_be_bytes();
    set(out, at, high);
    set(out, at.saturating_add(1), low);
    Ok(())
}

fn put_dh(out: &mut Vec<u8>, dh: &Object<'_>) -> PyResult<()> {
    put8(out, &slot!(dh, "group"))?;
    put_raw(out, &slot!(dh, "value"))?;
    let at = out.len();
    out.push(0);
    let reserved: u8 = slot!(dh, "reserved").extract()?;
    let kv = put_validity(out, &slot!(dh, "spi"), &slot!(dh, "interval"))?;
    set(out, at, reserved.checked_shl(4).unwrap_or(0) | kv);
    Ok(())
}

/// Adds payloads to a chain, each linked from the Next Payload of the one before.
pub struct Writer<'a> {
    /// What is written to.
    pub out: &'a mut Vec<u8>,
    link: usize,
}

impl<'a> Writer<'a> {
    /// Add to `out`; the octet at `link` is to name the first payload.
    pub fn new(out: &'a mut Vec<u8>, link: usize) -> Self {
        Self { out, link }
    }

    /// Begin a payload: what follows are the octets after its Next Payload.
    pub fn begin(&mut self, number: u8) {
        set(self.out, self.link, number);
        self.link = self.out.len();
        self.out.push(payload::LAST);
    }

    /// Add payloads that are linked already, the first of which has this number; none where there are none.
    pub fn append(&mut self, first: u8, octets: &[u8]) {
        if !octets.is_empty() {
            set(self.out, self.link, first);
            self.out.extend_from_slice(octets);
        }
    }

    /// Add a payload object.
    pub fn object(&mut self, encoder: &Encoder<'_>, object: &Object<'_>) -> PyResult<()> {
        let at = self.out.len();
        self.out.push(payload::LAST);
        let number = encoder.body(object, self.out)?;
        set(self.out, self.link, number);
        self.link = at;
        if number == payload::SIGN { Err(unfit()) } else { Ok(()) }
    }

    /// Add a T payload.
    pub fn t(&mut self, timestamp: &Timestamp) -> PyResult<()> {
        self.begin(payload::T);
        self.stamp(timestamp)
    }

    /// Add a TR payload.
    pub fn tr(&mut self, role: u8, timestamp: &Timestamp) -> PyResult<()> {
        self.begin(payload::TR);
        self.out.push(role);
        self.stamp(timestamp)
    }

    fn stamp(&mut self, timestamp: &Timestamp) -> PyResult<()> {
        put_stamp(self.out, timestamp.ts_type, timestamp.value)
    }

    /// Add an IDR payload.
    pub fn idr(&mut self, role: u8, id_type: u8, data: &[u8]) -> PyResult<()> {
        self.begin(payload::IDR);
        self.out.extend_from_slice(&[role, id_type]);
        put_long(self.out, data)
    }

    /// Add a RAND payload.
    pub fn rand(&mut self, rand: &[u8]) -> PyResult<()> {
        self.begin(payload::RAND);
        self.out.push(u8::try_from(rand.len())?);
        self.out.extend_from_slice(rand);
        Ok(())
    }

    /// Add a RANDR payload.
    pub fn randr(&mut self, role: u8, rand: &[u8]) -> PyResult<()> {
        self.begin(payload::RANDR);
        self.out.extend_from_slice(&[role, u8::try_from(rand.len())?]);
        self.out.extend_from_slice(rand);
        Ok(())
    }

    /// Add a KEMAC payload with the NULL MAC.
    pub fn kemac(&mut self, encr_alg: u8, encr_data: &[u8]) -> PyResult<()> {
        self.begin(payload::KEMAC);
        self.out.push(encr_alg);
        put_long(self.out, encr_data)?;
        self.out.push(0);
        Ok(())
    }

    /// Add a V payload.
    pub fn v(&mut self, auth_alg: u8, mac: &[u8]) {
        self.begin(payload::V);
        self.out.push(auth_alg);
        self.out.extend_from_slice(mac);
    }

    /// Add key data with an SPI and without salt.
    pub fn key(&mut self, key_type: u8, key: &[u8], spi: &[u8]) -> PyResult<()> {
        self.begin(payload::KEY_DATA);
        self.out.push(key_type.checked_shl(4).unwrap_or(0) | validity::SPI);
        put_long(self.out, key)?;
        self.out.push(u8::try_from(spi.len())?);
        self.out.extend_from_slice(spi);
        Ok(())
    }
}

/// Makes octets: the classes it knows.
#[derive(Clone, Copy)]
pub struct Encoder<'py> {
    /// The classes.
    pub classes: &'py Classes,
}

impl<'py> Encoder<'py> {
    /// Return an encoder.
    #[inline]
    pub fn new(py: Python<'py>) -> PyResult<Self> {
        Ok(Self { classes: Classes::get(py)? })
    }

    /// Add the octets after Next Payload; return the number of the payload.
    pub fn body(&self, object: &Object<'_>, out: &mut Vec<u8>) -> PyResult<u8> {
        let mark = out.len();
        if let Ok(Some(number)) = self.known(object, out) {
            return Ok(number);
        }
        out.truncate(mark);
        let number = slot!(object, "payload_type").extract()?;
        let octets = object.call_method0(pyo3::intern!(object.py(), "encode_body"))?;
        put_raw(out, &octets)?;
        Ok(number)
    }

    fn known(&self, object: &Object<'_>, out: &mut Vec<u8>) -> PyResult<Option<u8>> {
        let classes = self.classes;
        let number = if classes.idr.made(object) {
            put8(out, &slot!(object, "role"))?;
            put8(out, &slot!(object, "id_type"))?;
            put_long_object(out, &slot!(object, "data"))?;
            payload::IDR
        } else if classes.t.made(object) {
            put_timestamp(out, &slot!(object, "timestamp"))?;
            payload::T
        } else if classes.randr.made(object) {
            put8(out, &slot!(object, "role"))?;
            put_short(out, &slot!(object, "rand"))?;
            payload::RANDR
        } else if classes.kemac.made(object) {
            put8(out, &slot!(object, "encr_alg"))?;
            put_long_object(out, &slot!(object, "encr_data"))?;
            put8(out, &slot!(object, "mac_alg"))?;
            put_raw(out, &slot!(object, "mac"))?;
            payload::KEMAC
        } else if classes.v.made(object) {
            put8(out, &slot!(object, "auth_alg"))?;
            put_raw(out, &slot!(object, "mac"))?;
            payload::V
        } else if classes.tr.made(object) {
            put8(out, &slot!(object, "role"))?;
            put_timestamp(out, &slot!(object, "timestamp"))?;
            payload::TR
        } else if classes.sp.made(object) {
            put_sp(out, object)?;
            payload::SP
        } else if classes.ticket.made(object) {
            put_policy(out, object)?;
            put_long_object(out, &slot!(object, "ticket_data"))?;
            put_long_object(out, &slot!(object, "initiator_data"))?;
            payload::TICKET
        } else if classes.tp.made(object) {
            put_policy(out, object)?;
            payload::TP
        } else if classes.key_data.made(object) {
            put_key_data(out, object)?;
            payload::KEY_DATA
        } else if classes.rand.made(object) {
            put_short(out, &slot!(object, "rand"))?;
            payload::RAND
        } else {
            return self.seldom(object, out);
        };
        Ok(Some(number))
    }

    fn seldom(&self, object: &Object<'_>, out: &mut Vec<u8>) -> PyResult<Option<u8>> {
        let classes = self.classes;
        let number = if classes.ext.made(object) {
            put8(out, &slot!(object, "ext_type"))?;
            put_long_object(out, &slot!(object, "data"))?;
            payload::EXT
        } else if classes.err.made(object) {
            put8(out, &slot!(object, "error_no"))?;
            out.extend_from_slice(&slot!(object, "reserved").extract::<u16>()?.to_be_bytes());
            payload::ERR
        } else if classes.id.made(object) {
            put8(out, &slot!(object, "id_type"))?;
            put_long_object(out, &slot!(object, "data"))?;
            payload::ID
        } else if classes.cert.made(object) {
            put8(out, &slot!(object, "cert_type"))?;
            put_long_object(out, &slot!(object, "data"))?;
            payload::CERT
        } else if classes.chash.made(object) {
            put8(out, &slot!(object, "hash_func"))?;
            put_raw(out, &slot!(object, "hash"))?;
            payload::CHASH
        } else if classes.pke.made(object) {
            put_packed(out, &slot!(object, "cache"), &slot!(object, "data"), 14)?;
            payload::PKE
        } else if classes.sign.made(object) {
            put_packed(out, &slot!(object, "signature_type"), &slot!(object, "signature"), 12)?;
            payload::SIGN
        } else if classes.dh.made(object) {
            put_dh(out, object)?;
            payload::DH
        } else {
            return Ok(None);
        };
        Ok(Some(number))
    }

    /// Add a chain; return the number of the first payload, and where each begins.
    pub fn chain(&self, payloads: &Bound<'py, PyTuple>, out: &mut Vec<u8>) -> PyResult<(u8, Vec<usize>)> {
        let mut first = payload::LAST;
        let mut offsets = Vec::with_capacity(payloads.len());
        let mut link: Option<usize> = None;
        for object in payloads.iter() {
            let at = out.len();
            out.push(payload::LAST);
            let number = self.body(&object, out)?;
            if offsets.is_empty() {
                first = number;
            } else if let Some(link) = link {
                set(out, link, number);
            }
            link = Some(at);
            if number == payload::SIGN {
                // SIGN has no Next Payload.
                out.remove(at);
                link = None;
            }
            offsets.push(at);
        }
        Ok((first, offsets))
    }

    /// Add HDR, its Next Payload being `first`.
    pub fn header(&self, header: &Object<'py>, first: u8, out: &mut Vec<u8>) -> PyResult<()> {
        let mark = out.len();
        if self.classes.header.made(header) && self.known_header(header, first, out).is_ok() {
            return Ok(());
        }
        out.truncate(mark);
        put_raw(out, &header.call_method1(pyo3::intern!(header.py(), "encode"), (first,))?)
    }

    fn known_header(&self, header: &Object<'py>, first: u8, out: &mut Vec<u8>) -> PyResult<()> {
        let sessions = slot!(header, "crypto_sessions").cast_into::<PyTuple>()?;
        let kind: u8 = slot!(header, "map_type").extract()?;
        let v: bool = slot!(header, "v").extract()?;
        let prf: u8 = slot!(header, "prf").extract()?;
        out.push(MIKEY_VERSION);
        put8(out, &slot!(header, "data_type"))?;
        out.push(first);
        out.push(u8::from(v) << 7 | prf);
        out.extend_from_slice(&slot!(header, "csb_id").extract::<u32>()?.to_be_bytes());
        if sessions.is_empty() {
            put8(out, &slot!(header, "empty_map_sessions"))?;
        } else {
            out.push(u8::try_from(sessions.len())?);
        }
        out.push(kind);
        for entry in sessions.iter() {
            if kind == map_type::GENERIC_ID {
                self.generic_id(&entry, out)?;
            } else if self.classes.srtp_id.made(&entry) {
                put8(out, &slot!(entry, "policy_no"))?;
                out.extend_from_slice(&slot!(entry, "ssrc").extract::<u32>()?.to_be_bytes());
                out.extend_from_slice(&slot!(entry, "roc").extract::<u32>()?.to_be_bytes());
            } else {
                return Err(unfit());
            }
        }
        Ok(())
    }

    /// Add a block of the GENERIC-ID map.
    pub fn generic_id(&self, entry: &Object<'_>, out: &mut Vec<u8>) -> PyResult<()> {
        if !self.classes.generic_id.made(entry) {
            return Err(unfit());
        }
        put8(out, &slot!(entry, "cs_id"))?;
        put8(out, &slot!(entry, "prot_type"))?;
        let policies = slot!(entry, "policies").cast_into::<PyTuple>()?;
        let s: bool = slot!(entry, "s").extract()?;
        out.push(u8::from(s) << 7 | u8::try_from(policies.len())?);
        for number in policies.iter() {
            put8(out, &number)?;
        }
        put_long_object(out, &slot!(entry, "session_data"))?;
        put_short(out, &slot!(entry, "spi"))
    }

    /// Return the octets of a message, and where each payload begins.
    pub fn message(
        &self,
        header: &Object<'py>,
        payloads: &Bound<'py, PyTuple>,
    ) -> PyResult<(Octets, Vec<usize>)> {
        let mut out = Octets::new(Vec::with_capacity(1024));
        self.header(header, payload::LAST, &mut out)?;
        let (first, offsets) = self.chain(payloads, &mut out)?;
        set(&mut out, 2, first);
        Ok((out, offsets))
    }

    /// Return the plaintext of a KEMAC.
    pub fn key_data(&self, keys: &Object<'py>) -> PyResult<Octets> {
        let mut out = Octets::new(Vec::with_capacity(256));
        self.chain(&tuple(keys)?, &mut out)?;
        Ok(out)
    }
}

/// Add a number in the upper bits of two octets, the length of the octets in the lower ones, and these.
fn put_packed(out: &mut Vec<u8>, number: &Object<'_>, octets: &Object<'_>, bits: u32) -> PyResult<()> {
    let octets = octets.cast::<PyBytes>()?.as_bytes();
    let word = u32::from(number.extract::<u8>()?) << bits | u32::try_from(octets.len())?;
    out.extend_from_slice(&u16::try_from(word)?.to_be_bytes());
    out.extend_from_slice(octets);
    Ok(())
}

/// Return any iterable as a tuple.
pub fn tuple<'py>(items: &Object<'py>) -> PyResult<Bound<'py, PyTuple>> {
    if let Ok(items) = items.cast::<PyTuple>() {
        return Ok(items.clone());
    }
    Ok(items.py().get_type::<PyTuple>().call1((items,))?.cast_into::<PyTuple>()?)
}

/// `sipmikey.mikey.message.build_message`.
#[pyfunction]
pub fn build_message<'py>(
    py: Python<'py>,
    header: &Object<'py>,
    payloads: &Object<'py>,
) -> PyResult<Object<'py>> {
    let encoder = Encoder::new(py)?;
    let payloads = tuple(payloads)?;
    for item in payloads.iter().take(payloads.len().saturating_sub(1)) {
        if slot!(item, "payload_type").eq(payload::SIGN)? {
            let detail = "SIGN has no Next Payload and so must be the last payload";
            return Err(raise(py, &Fault::new(Kind::Local, detail)));
        }
    }
    let (octets, offsets) = encoder.message(header, &payloads)?;
    let values = [
        header.clone(),
        payloads.into_any(),
        PyBytes::new(py, &octets).into_any(),
        PyTuple::new(py, offsets)?.into_any(),
    ];
    encoder.classes.message.make(py, values)
}

/// `sipmikey.mikey.kemac.encode_key_data`.
#[pyfunction]
pub fn encode_key_data<'py>(py: Python<'py>, keys: &Object<'py>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &Encoder::new(py)?.key_data(keys)?))
}
