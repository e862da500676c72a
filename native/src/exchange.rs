//! Exchanges with the KMS: `sipmikey.ticket.protection` and `sipmikey.ticket.kms_exchange.kms`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use sipmikey_core::derivation::label_tail;
use sipmikey_core::header::SessionMap;
use sipmikey_core::mac::compute_mac;
use sipmikey_core::message::Message;
use sipmikey_core::payload::{Payload, Timestamp};
use sipmikey_core::registry::{MIKEY_VERSION, map_type, payload};
use sipmikey_core::transport;

use crate::decode::{Decoder, octets};
use crate::encode::{Encoder, Writer, slot, tuple};
use crate::environment::Environment;
use crate::keys::Keys;
use crate::original::{Perhaps, fine, or_original, require, take};
use crate::policy::{Rooms, Suite, role, text};
use crate::raise::OrRaise;
use crate::secret::Prf;
use crate::ticket::verifies;
use sipmikey_core::derivation::{NO_CS_ID, Protection};

type Object<'py> = Bound<'py, PyAny>;

const REQUEST_INIT_PSK: u8 = 11;
const REQUEST_INIT_PK: u8 = 12;
const RESOLVE_INIT_PSK: u8 = 16;
const RESOLVE_INIT_PK: u8 = 17;
const RAND_INITIATOR: u8 = 1;
const RAND_RESPONDER: u8 = 2;

/// Return the MAC of the V payload that closes a message; none where it is not as it must be.
pub fn closing_mac<'py>(message: &Object<'py>, suite: Suite) -> Perhaps<Bound<'py, PyBytes>> {
    let classes = crate::classes::Classes::get(message.py())?;
    let payloads = slot!(message, "payloads").cast_into::<PyTuple>()?;
    let last = payloads.len().saturating_sub(1);
    let mut found = None;
    for (index, item) in payloads.iter().enumerate() {
        if classes.v.made(&item) {
            require!(index == last && slot!(item, "auth_alg").extract::<u8>()? == suite.mac_alg);
            found = Some(slot!(item, "mac").cast_into::<PyBytes>()?);
        } else {
            require!(classes.knows(&item));
        }
    }
    Ok(found)
}

/// `sipmikey.ticket.protection.verify`.
#[pyfunction]
pub fn verify<'py>(
    py: Python<'py>,
    message: &Object<'py>,
    suite: &Object<'py>,
    protection: &Object<'py>,
    following: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = verified(message, suite, protection, following);
    or_original(py, "verify", || (message, suite, protection, following).into_pyobject(py), found)
}

fn verified<'py>(
    message: &Object<'py>,
    suite: &Object<'py>,
    protection: &Object<'py>,
    following: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let py = message.py();
    let suite = take!(Rooms::get(py)?.suite(suite));
    let mac = take!(closing_mac(message, suite)?);
    let raw = slot!(message, "raw").cast_into::<PyBytes>()?;
    let raw = raw.as_bytes();
    let covered = raw.get(..raw.len().saturating_sub(suite.mac_length)).unwrap_or_default();
    let keys = Keys::of(protection)?;
    let auth_key = fine!(keys.core().auth_key(suite.mac_alg));
    let covered = [covered, following.cast::<PyBytes>()?.as_bytes()];
    require!(fine!(verifies(suite.mac_alg, &auth_key, &covered, mac.as_bytes())));
    Ok(Some(py.None().into_bound(py)))
}

/// `sipmikey.ticket.protection.seal`.
#[pyfunction]
pub fn seal<'py>(
    py: Python<'py>,
    header: &Object<'py>,
    payloads: &Object<'py>,
    suite: &Object<'py>,
    protection: &Object<'py>,
    following: &Object<'py>,
) -> PyResult<Object<'py>> {
    let payloads = tuple(payloads)?;
    let found = sealed(py, header, &payloads, suite, protection, following);
    let arguments = || (header, &payloads, suite, protection, following).into_pyobject(py);
    or_original(py, "seal", arguments, found)
}

fn sealed<'py>(
    py: Python<'py>,
    header: &Object<'py>,
    payloads: &Bound<'py, PyTuple>,
    suite: &Object<'py>,
    protection: &Object<'py>,
    following: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let suite = take!(Rooms::get(py)?.suite(suite));
    let encoder = Encoder::new(py)?;
    let mut out = Vec::with_capacity(1024);
    encoder.header(header, payload::LAST, &mut out)?;
    let mut chain = Writer::new(&mut out, 2);
    for item in payloads.iter() {
        chain.object(&encoder, &item)?;
    }
    chain.v(suite.mac_alg, &[]);
    close(py, out, suite, &Keys::of(protection)?.core(), following.cast::<PyBytes>()?.as_bytes())
}

/// Add the MAC over the octets and what follows them; return the message.
pub fn close<'py>(
    py: Python<'py>,
    mut out: Vec<u8>,
    suite: Suite,
    protection: &Protection<'_>,
    following: &[u8],
) -> Perhaps<Object<'py>> {
    let auth_key = fine!(protection.auth_key(suite.mac_alg));
    let (mac, length) = fine!(compute_mac(suite.mac_alg, &auth_key, &[&out, following]));
    out.extend_from_slice(mac.get(..length).unwrap_or_default());
    Ok(Some(PyBytes::new(py, &out).into_any()))
}

/// Return the only payload that a test picks, by index; none where there are two.
fn only<'a, T>(
    message: &'a Message<'_>,
    mut pick: impl FnMut(&'a Payload<'_>) -> Option<T>,
) -> Option<Option<(usize, T)>> {
    let mut found = None;
    for (index, (_, item)) in message.payloads.iter().enumerate() {
        if let Some(value) = pick(item) {
            if found.is_some() {
                return None;
            }
            found = Some((index, value));
        }
    }
    Some(found)
}

/// The only T of a message.
pub fn only_timestamp(message: &Message<'_>) -> Option<(usize, Timestamp)> {
    only(message, |item| if let Payload::T(stamp) = item { Some(*stamp) } else { None })?
}

/// The only RANDR of a role.
pub fn only_rand<'a>(message: &'a Message<'_>, wanted: u8) -> Option<&'a [u8]> {
    let found = only(message, |item| match item {
        Payload::Randr { role, rand } if *role == wanted => Some(*rand),
        _ => None,
    })??;
    Some(found.1)
}

/// The only IDR of a role, by index, where there is one; the outer none where there are two.
pub fn only_identity(message: &Message<'_>, wanted: u8) -> Option<Option<usize>> {
    let found = only(message, |item| match item {
        Payload::Idr { role, .. } if *role == wanted => Some(()),
        _ => None,
    })?;
    Some(found.map(|(index, ())| index))
}

/// Tell whether one V of the suite closes a message.
pub fn is_closed(message: &Message<'_>, suite: Suite) -> bool {
    let found =
        only(message, |item| if let Payload::V { auth_alg, .. } = item { Some(*auth_alg) } else { None });
    matches!(found, Some(Some((index, auth_alg)))
        if index.saturating_add(1) == message.payloads.len() && auth_alg == suite.mac_alg)
}

/// `sipmikey.ticket.kms_exchange.kms.read_init`.
#[pyfunction]
pub fn read_init<'py>(py: Python<'py>, env: &Object<'py>, data: &Object<'py>) -> PyResult<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let raw = octets(data)?;
    let limits = decoder.classes.limits(&Environment(env).limits()?)?;
    let message = Message::read(raw.as_bytes(), &limits).or_raise(py)?;
    let found = init(&decoder, env, &raw, &message);
    or_original(py, "read_init", || (env, data).into_pyobject(py), found)
}

fn init<'py>(
    decoder: &Decoder<'py>,
    env: &Object<'py>,
    raw: &Bound<'py, PyBytes>,
    message: &Message<'_>,
) -> Perhaps<Object<'py>> {
    let (py, rooms) = (decoder.py, Rooms::get(decoder.py)?);
    let header = &message.header;
    let (kind, own_role, rand_role) = match header.data_type {
        REQUEST_INIT_PSK | REQUEST_INIT_PK => (&rooms.request, role::INITIATOR, RAND_INITIATOR),
        RESOLVE_INIT_PSK | RESOLVE_INIT_PK => (&rooms.resolve, role::RESPONDER, RAND_RESPONDER),
        _ => return Ok(None),
    };
    require!(matches!(header.map, SessionMap::Empty(0)));
    let (at, stamp) = take!(only_timestamp(message));
    require!(Environment(env).accepts(&stamp)?);
    let rand = take!(only_rand(message, rand_role));
    let own = take!(only_identity(message, own_role));
    let kms = take!(only_identity(message, role::KMS));
    let psk = take!(only_identity(message, role::PSK));
    if matches!(header.data_type, REQUEST_INIT_PSK | RESOLVE_INIT_PSK) {
        require!(is_closed(message, Suite::of(header.prf)));
    }
    let made = decoder.message(raw, message)?;
    let payloads = slot!(made, "payloads").cast_into::<PyTuple>()?;
    let item = |index: Option<usize>| match index {
        Some(index) => payloads.get_item(index),
        None => Ok(py.None().into_bound(py)),
    };
    let values = [
        kind.bind(py).clone(),
        rooms.suite_object(py, header.prf),
        slot!(item(Some(at))?, "timestamp"),
        PyBytes::new(py, rand).into_any(),
        item(own)?,
        item(kms)?,
        item(psk)?,
    ];
    let [kind, suite, timestamp, rand, own, kms, psk] = values;
    let name = |idr: &Object<'py>| if idr.is_none() { Ok(idr.clone()) } else { text(idr) };
    let (identity, kms_identity) = (name(&own)?, name(&kms)?);
    let parts = [made, kind, suite, timestamp, rand, own, kms, psk, identity, kms_identity];
    Ok(Some(PyTuple::new(py, parts)?.into_any()))
}

/// `sipmikey.ticket.kms_exchange.kms.build_response`.
#[pyfunction]
pub fn build_response<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    init: &Object<'py>,
    prf: &Object<'py>,
    before: &Object<'py>,
    keys: &Object<'py>,
    after: &Object<'py>,
) -> PyResult<Object<'py>> {
    let (before, keys, after) = (tuple(before)?, tuple(keys)?, tuple(after)?);
    let found = response(py, env, init, prf, &before, keys.as_any(), &after);
    or_original(py, "build_response", || (env, init, prf, &before, &keys, &after).into_pyobject(py), found)
}

fn response<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    init: &Object<'py>,
    prf: &Object<'py>,
    before: &Bound<'py, PyTuple>,
    keys: &Object<'py>,
    after: &Bound<'py, PyTuple>,
) -> Perhaps<Object<'py>> {
    let rooms = Rooms::get(py)?;
    let encoder = Encoder::new(py)?;
    let suite = take!(rooms.suite(&slot!(init, "suite")));
    let kind = slot!(init, "kind");
    let message = slot!(init, "message");
    let header = slot!(message, "header");
    let csb_id: u32 = slot!(header, "csb_id").extract()?;
    let rand = slot!(init, "rand").cast_into::<PyBytes>()?;
    let rands: [&[u8]; 2] =
        if kind.is(rooms.request.bind(py)) { [rand.as_bytes(), &[]] } else { [&[], rand.as_bytes()] };
    let tail = fine!(label_tail(NO_CS_ID, csb_id, 2, &rands));
    let protection = Protection { prf: prf.cast::<Prf>()?.get().core(), tail: &tail };
    let plaintext = encoder.key_data(keys)?;
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(&[MIKEY_VERSION, slot!(kind, "response").extract()?, payload::LAST]);
    out.push(slot!(header, "prf").extract()?);
    out.extend_from_slice(&csb_id.to_be_bytes());
    out.extend_from_slice(&[0, map_type::EMPTY]);
    // What can fail is tried before the clock is read.
    let mut rest = Vec::with_capacity(1024);
    let mut trial = Writer::new(&mut rest, usize::MAX);
    for item in before.iter().chain(after.iter()) {
        trial.object(&encoder, &item)?;
    }
    require!(plaintext.len() < usize::from(u16::MAX) && suite.encr_alg != payload::LAST);

    let timestamp = Environment(env).timestamp()?;
    let encr_data = fine!(transport::seal(suite.encr_alg, &protection, csb_id, timestamp.iv(), &plaintext));
    let mut chain = Writer::new(&mut out, 2);
    chain.t(&timestamp)?;
    for item in before.iter() {
        chain.object(&encoder, &item)?;
    }
    chain.kemac(suite.encr_alg, &encr_data)?;
    for item in after.iter() {
        chain.object(&encoder, &item)?;
    }
    chain.v(suite.mac_alg, &[]);
    close(py, out, suite, &protection, slot!(message, "raw").cast::<PyBytes>()?.as_bytes())
}

/// `sipmikey.keys.derivation.initial_message_keys`.
#[pyfunction]
#[pyo3(signature = (prf, csb_id, *, rand_i=None, rand_r=None))]
pub fn initial_message_keys<'py>(
    prf: &Bound<'py, Prf>,
    csb_id: u32,
    rand_i: Option<&Bound<'py, PyBytes>>,
    rand_r: Option<&Bound<'py, PyBytes>>,
) -> PyResult<Object<'py>> {
    message_keys(prf, csb_id, 1, rand_i, rand_r)
}

/// `sipmikey.keys.derivation.response_message_keys`.
#[pyfunction]
#[pyo3(signature = (prf, csb_id, *, rand_i=None, rand_r=None))]
pub fn response_message_keys<'py>(
    prf: &Bound<'py, Prf>,
    csb_id: u32,
    rand_i: Option<&Bound<'py, PyBytes>>,
    rand_r: Option<&Bound<'py, PyBytes>>,
) -> PyResult<Object<'py>> {
    message_keys(prf, csb_id, 2, rand_i, rand_r)
}

fn message_keys<'py>(
    prf: &Bound<'py, Prf>,
    csb_id: u32,
    number: u8,
    rand_i: Option<&Bound<'py, PyBytes>>,
    rand_r: Option<&Bound<'py, PyBytes>>,
) -> PyResult<Object<'py>> {
    let py = prf.py();
    let octets =
        |rand: Option<&Bound<'py, PyBytes>>| rand.map(|rand| rand.as_bytes().to_vec()).unwrap_or_default();
    let (rand_i, rand_r) = (octets(rand_i), octets(rand_r));
    let tail = label_tail(NO_CS_ID, csb_id, number, &[&rand_i, &rand_r]).or_raise(py)?;
    let values = [prf.clone().into_any(), PyBytes::new(py, &tail).into_any()];
    Rooms::get(py)?.protection_keys.make(py, values)
}
