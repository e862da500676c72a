//! Ticket policies: `sipmikey.ticket.policy`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};
use sipmikey_core::kemac::read_key_data;
use sipmikey_core::policy::flag;
use sipmikey_core::registry::has_salt;

use crate::classes::Classes;
use crate::encode::{Writer, slot};
use crate::original::{Perhaps, fine, or_original, require, take};
use crate::slots::Maker;

type Object<'py> = Bound<'py, PyAny>;

/// Roles of IDR payloads (RFC 6043 table 6.11).
pub mod role {
    #![allow(missing_docs)]
    pub const INITIATOR: u8 = 1;
    pub const RESPONDER: u8 = 2;
    pub const KMS: u8 = 3;
    pub const PSK: u8 = 4;
    pub const APPLICATION: u8 = 5;
}

/// Roles of TR payloads (RFC 6043 table 6.9).
mod ts_role {
    pub(super) const START: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const REKEYING: u8 = 4;
}

const URI: u8 = 1;
const COUNTER: u8 = 2;
const NTP_UTC_32: u8 = 3;
const MPK: u8 = 6;

/// What a suite is to the native core: the algorithms that belong together, and lengths in bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// PRF func.
    pub prf: u8,
    /// The encryption this side uses.
    pub encr_alg: u8,
    /// MAC algorithm.
    pub mac_alg: u8,
    /// Length of the MAC.
    pub mac_length: usize,
    /// Length of MPKs, TGKs and TPKs made for the suite.
    pub key_length: usize,
    /// Length of random values.
    pub rand_length: usize,
}

const SUITE_128: Suite =
    Suite { prf: 0, encr_alg: 1, mac_alg: 1, mac_length: 20, key_length: 16, rand_length: 16 };
const SUITE_256: Suite =
    Suite { prf: 1, encr_alg: 3, mac_alg: 2, mac_length: 32, key_length: 32, rand_length: 32 };

impl Suite {
    /// Tell whether a peer of the suite may use an encryption.
    pub fn encrypts(&self, encr_alg: u8) -> bool {
        if self.prf == 0 { matches!(encr_alg, 1 | 2) } else { encr_alg == 3 }
    }

    /// Return the suite a PRF belongs to.
    pub fn of(prf: u8) -> Self {
        if prf == 0 { SUITE_128 } else { SUITE_256 }
    }
}

/// Classes and objects of the rooms above the codec.
#[allow(missing_docs)]
pub struct Rooms {
    pub suite_128: Py<PyAny>,
    pub suite_256: Py<PyAny>,
    pub canonical: Py<PyAny>,
    pub ticket_policy: Maker<13>,
    pub requested_key: Maker<3>,
    pub protection_keys: Maker<2>,
    pub contents: Maker<3>,
    pub grant: Maker<5>,
    pub request: Py<PyAny>,
    pub resolve: Py<PyAny>,
}

static ROOMS: PyOnceLock<Rooms> = PyOnceLock::new();

impl Rooms {
    /// Return them, looked up when they are first needed.
    #[inline]
    pub fn get(py: Python<'_>) -> PyResult<&Self> {
        ROOMS.get_or_try_init(py, || Self::load(py))
    }

    fn load(py: Python<'_>) -> PyResult<Self> {
        let find = |module: &str, name: &str| py.import(format!("sipmikey.{module}"))?.getattr(name);
        Ok(Self {
            suite_128: find("keys.suite", "SUITE_128")?.unbind(),
            suite_256: find("keys.suite", "SUITE_256")?.unbind(),
            canonical: find("ticket.identity", "canonical")?.unbind(),
            ticket_policy: Maker::new(
                &find("ticket.policy", "TicketPolicy")?,
                [
                    "suite",
                    "flags",
                    "responders",
                    "kms",
                    "initiator",
                    "valid_from",
                    "valid_until",
                    "rekeying_interval_s",
                    "applications",
                    "requested_keys",
                    "ticket_type",
                    "subtype",
                    "version",
                ],
            )?,
            requested_key: Maker::new(
                &find("ticket.policy", "RequestedKey")?,
                ["key_type", "length", "salt_length"],
            )?,
            protection_keys: Maker::new(&find("keys.derivation", "ProtectionKeys")?, ["prf", "label_tail"])?,
            contents: Maker::new(&find("ticket.base_ticket", "TicketContents")?, ["mpk_i", "mpk_r", "keys"])?,
            grant: Maker::new(
                &find("ticket.request", "TicketGrant")?,
                ["ticket", "policy", "mpk_i", "mpk_r", "keys"],
            )?,
            request: find("ticket.kms_exchange.kind", "TICKET_REQUEST")?.unbind(),
            resolve: find("ticket.kms_exchange.kind", "TICKET_RESOLVE")?.unbind(),
        })
    }

    /// Return the suite an object of the class `Suite` is, where it is one of the two there are.
    pub fn suite(&self, object: &Object<'_>) -> Option<Suite> {
        let py = object.py();
        if object.is(self.suite_256.bind(py)) {
            return Some(SUITE_256);
        }
        object.is(self.suite_128.bind(py)).then_some(SUITE_128)
    }

    /// Return the object of a PRF's suite.
    pub fn suite_object<'py>(&self, py: Python<'py>, prf: u8) -> Object<'py> {
        if prf == 0 { self.suite_128.bind(py).clone() } else { self.suite_256.bind(py).clone() }
    }

    /// Return the canonical form of a URI.
    pub fn canonical<'py>(&self, uri: &Object<'py>) -> PyResult<Bound<'py, PyString>> {
        Ok(self.canonical.bind(uri.py()).call1((uri,))?.cast_into()?)
    }
}

/// `sipmikey.ticket.policy.read_policy`.
#[pyfunction]
pub fn read_policy<'py>(
    py: Python<'py>,
    fields: &Object<'py>,
    limits: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = policy_of(fields, limits);
    or_original(py, "read_policy", || (fields, limits).into_pyobject(py), found)
}

/// Return a `TicketPolicy` of a TP or TICKET.
pub fn policy_of<'py>(fields: &Object<'py>, limits: &Object<'py>) -> Perhaps<Object<'py>> {
    let py = fields.py();
    let (classes, rooms) = (Classes::get(py)?, Rooms::get(py)?);
    let payloads = slot!(fields, "payloads").cast_into::<PyTuple>()?;
    let (mut responders, mut applications) = (Vec::with_capacity(4), Vec::new());
    let (mut kms, mut initiator) = (None, None);
    let (mut from, mut until, mut interval, mut requested) = (None, None, None, None);
    for payload in payloads.iter() {
        if classes.idr.made(&payload) {
            let place = match slot!(payload, "role").extract()? {
                role::RESPONDER => {
                    responders.push(text(&payload)?);
                    continue;
                }
                role::APPLICATION => {
                    applications.push(text(&payload)?);
                    continue;
                }
                role::KMS => &mut kms,
                role::INITIATOR => &mut initiator,
                _ => continue,
            };
            require!(place.replace(text(&payload)?).is_none());
        } else if classes.tr.made(&payload) {
            let timestamp = slot!(payload, "timestamp");
            let kind: u8 = slot!(timestamp, "ts_type").extract()?;
            match slot!(payload, "role").extract()? {
                ts_role::START => require!(from.replace(timestamp).is_none() && kind != COUNTER),
                ts_role::END => require!(until.replace(timestamp).is_none() && kind != COUNTER),
                ts_role::REKEYING => {
                    require!(kind == NTP_UTC_32);
                    require!(interval.replace(slot!(timestamp, "value")).is_none());
                }
                _ => {}
            }
        } else if classes.kemac.made(&payload) {
            require!(classes.tp.made(fields));
            require!(requested.replace(requested_keys(rooms, classes, &payload, limits)?).is_none());
        } else {
            require!(classes.knows(&payload));
        }
    }
    require!(!responders.is_empty());
    let requested = match requested {
        None => PyTuple::empty(py).into_any(),
        Some(keys) => take!(keys),
    };
    let none = || py.None().into_bound(py);
    let policy = rooms.ticket_policy.make(
        py,
        [
            rooms.suite_object(py, slot!(fields, "prf").extract()?),
            slot!(fields, "flags"),
            PyTuple::new(py, responders)?.into_any(),
            kms.unwrap_or_else(none),
            initiator.unwrap_or_else(none),
            from.unwrap_or_else(none),
            until.unwrap_or_else(none),
            interval.unwrap_or_else(none),
            PyTuple::new(py, applications)?.into_any(),
            requested,
            slot!(fields, "ticket_type"),
            slot!(fields, "subtype"),
            slot!(fields, "version"),
        ],
    )?;
    Ok(Some(policy))
}

/// Return the ID Data of an IDR as text.
pub fn text<'py>(payload: &Object<'py>) -> PyResult<Object<'py>> {
    let data = slot!(payload, "data");
    let octets = data.cast::<PyBytes>()?.as_bytes();
    let text = std::str::from_utf8(octets).map_err(|_| PyValueError::new_err("not UTF-8"))?;
    Ok(PyString::new(payload.py(), text).into_any())
}

fn requested_keys<'py>(
    rooms: &Rooms,
    classes: &Classes,
    kemac: &Object<'py>,
    limits: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let py = kemac.py();
    require!(slot!(kemac, "encr_alg").extract::<u8>()? == 0 && slot!(kemac, "mac_alg").extract::<u8>()? == 0);
    let data = slot!(kemac, "encr_data");
    let keys = fine!(read_key_data(data.cast::<PyBytes>()?.as_bytes(), &classes.limits(limits)?));
    let mut requested = Vec::with_capacity(keys.len());
    for key in keys {
        let salt = key.salt.unwrap_or_default().len();
        require!(key.key_type != MPK && has_salt(key.key_type) == (salt > 0));
        let values = [
            classes.key_type.named(py, key.key_type.into()),
            PyInt::new(py, key.key.len()).into_any(),
            PyInt::new(py, salt).into_any(),
        ];
        requested.push(rooms.requested_key.make(py, values)?);
    }
    Ok(Some(PyTuple::new(py, requested)?.into_any()))
}

/// Return a `TicketPolicy` as it is granted, without requested keys.
pub fn granted<'py>(policy: &Object<'py>) -> PyResult<Object<'py>> {
    let py = policy.py();
    let values = [
        slot!(policy, "suite"),
        slot!(policy, "flags"),
        slot!(policy, "responders"),
        slot!(policy, "kms"),
        slot!(policy, "initiator"),
        slot!(policy, "valid_from"),
        slot!(policy, "valid_until"),
        slot!(policy, "rekeying_interval_s"),
        slot!(policy, "applications"),
        PyTuple::empty(py).into_any(),
        slot!(policy, "ticket_type"),
        slot!(policy, "subtype"),
        slot!(policy, "version"),
    ];
    Rooms::get(py)?.ticket_policy.make(py, values)
}

/// The numbers of a `TicketPolicy`.
pub struct Terms {
    /// The suite.
    pub suite: Suite,
    /// The flags.
    pub flags: u16,
}

impl Terms {
    /// Read them; none for a policy with another suite or ticket type than RFC 6043's.
    pub fn of(policy: &Object<'_>) -> Perhaps<Self> {
        let rooms = Rooms::get(policy.py())?;
        let suite = take!(rooms.suite(&slot!(policy, "suite")));
        let flags: u16 = slot!(slot!(policy, "flags"), "bits").extract()?;
        let kind: u16 = slot!(policy, "ticket_type").extract()?;
        let (subtype, version): (u8, u8) =
            (slot!(policy, "subtype").extract()?, slot!(policy, "version").extract()?);
        require!((kind, subtype, version) == (1, 1, 1));
        Ok(Some(Self { suite, flags }))
    }

    /// Tell whether a flag is set.
    pub fn has(&self, letter: char) -> bool {
        self.flags & flag(letter) != 0
    }

    /// Tell whether the policy allows keys of these types: I with a TGK implies F.
    pub fn allows(&self, mut key_types: impl Iterator<Item = u8>) -> bool {
        !self.has('I') || self.has('F') || !key_types.any(|kind| kind <= 1)
    }
}

/// Add the octets of a granted policy, without requested keys: from Ticket Type to the end of TP Data.
pub fn put_policy(writer: &mut Vec<u8>, policy: &Object<'_>, terms: &Terms) -> PyResult<()> {
    let rooms = Rooms::get(policy.py())?;
    let flags = u32::from(terms.flags);
    let word = u32::from(terms.suite.prf) << 17 | flags << 5;
    writer.extend_from_slice(&[0, 1, 1, 1]);
    writer.extend_from_slice(word.to_be_bytes().get(1..).unwrap_or_default());
    let at = writer.len();
    writer.extend_from_slice(&[0, 0, 0]);
    let mut chain = Writer::new(writer, at.saturating_add(2));
    put_identity(&mut chain, rooms, &slot!(policy, "kms"), role::KMS)?;
    put_identity(&mut chain, rooms, &slot!(policy, "initiator"), role::INITIATOR)?;
    for (limit, role) in
        [(slot!(policy, "valid_from"), ts_role::START), (slot!(policy, "valid_until"), ts_role::END)]
    {
        if !limit.is_none() {
            chain.tr(role, &crate::keys::timestamp(&limit)?)?;
        }
    }
    let interval = slot!(policy, "rekeying_interval_s");
    if !interval.is_none() {
        let value = interval.extract::<u32>()?.into();
        let stamp = sipmikey_core::payload::Timestamp { ts_type: NTP_UTC_32, value };
        chain.tr(ts_role::REKEYING, &stamp)?;
    }
    for name in slot!(policy, "applications").cast::<PyTuple>()?.iter() {
        put_identity(&mut chain, rooms, &name, role::APPLICATION)?;
    }
    for name in slot!(policy, "responders").cast::<PyTuple>()?.iter() {
        put_identity(&mut chain, rooms, &name, role::RESPONDER)?;
    }
    let length = u16::try_from(writer.len().saturating_sub(at).saturating_sub(2))?;
    for (to, from) in writer.iter_mut().skip(at).zip(length.to_be_bytes()) {
        *to = from;
    }
    Ok(())
}

fn put_identity(chain: &mut Writer<'_>, rooms: &Rooms, uri: &Object<'_>, role: u8) -> PyResult<()> {
    if uri.is_none() {
        return Ok(());
    }
    chain.idr(role, URI, rooms.canonical(uri)?.to_str()?.as_bytes())
}
