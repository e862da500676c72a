//! The MIKEY base ticket: `sipmikey.ticket.base_ticket`, and what is made of its keys.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use sipmikey_core::derivation::{NO_CS_ID, NO_CSB_ID, Protection, constant, derive_mpks, fork, label_tail};
use sipmikey_core::fault::Outcome;
use sipmikey_core::kemac::{KeyData, Validity, read_key_data};
use sipmikey_core::limits::Limits;
use sipmikey_core::mac::{compute_mac, same};
use sipmikey_core::payload::{Payload, Timestamp};
use sipmikey_core::policy::{Policy, Ticket, read_initiator_data, read_ticket_data};
use sipmikey_core::prf::{Octets, Prf};
use sipmikey_core::reader::Reader;
use sipmikey_core::registry::{has_salt, payload};
use sipmikey_core::transport;

use crate::decode::Decoder;
use crate::encode::{Encoder, Writer, put_long, slot, tuple};
use crate::environment::Environment;
use crate::original::{Perhaps, fine, or_original, require, take};
use crate::policy::{Rooms, Suite, Terms, put_policy, role};
use crate::secret::Secret;

type Object<'py> = Bound<'py, PyAny>;

/// Length of the SPIs this side makes, in bytes.
const SPI_LENGTH: usize = 4;
/// Shortest key (RFC 6043 section 12.1).
const MINIMUM_KEY_LENGTH: usize = 16;
const MPK: u8 = 6;
const BYTE_STRING: u8 = 2;

/// Nothing is refused for its size here: what is read was just written.
const NO_LIMITS: Limits = Limits {
    message_bytes: i64::MAX,
    payloads: i64::MAX,
    crypto_sessions: i64::MAX,
    certificates: i64::MAX,
    policy_parameters: i64::MAX,
    nesting: i64::MAX,
};

/// Return whether octets carry this MAC.
pub fn verifies(mac_alg: u8, auth_key: &[u8], covered: &[&[u8]], mac: &[u8]) -> Outcome<bool> {
    let (computed, length) = compute_mac(mac_alg, auth_key, covered)?;
    Ok(same(computed.get(..length).unwrap_or_default(), mac))
}

/// `sipmikey.ticket.base_ticket.make_session_keys`.
#[pyfunction]
pub fn make_session_keys<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    wanted: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = session_keys(py, env, wanted);
    or_original(py, "make_session_keys", || (env, wanted).into_pyobject(py), found)
}

fn session_keys<'py>(py: Python<'py>, env: &Object<'py>, wanted: &Object<'py>) -> Perhaps<Object<'py>> {
    let plan = KeyPlan::of(wanted)?;
    Ok(Some(plan.draw(&Decoder::new(py)?, &Environment(env))?.into_any()))
}

/// Type, length and length of the salt of each key wanted.
pub struct KeyPlan(Vec<(u8, usize, usize)>);

impl KeyPlan {
    /// Read a sequence of `RequestedKey`.
    pub fn of(wanted: &Object<'_>) -> PyResult<Self> {
        let mut plan = Vec::new();
        for item in tuple(wanted)?.iter() {
            let kind: u8 = slot!(item, "key_type").extract()?;
            let (length, salt): (u16, u16) =
                (slot!(item, "length").extract()?, slot!(item, "salt_length").extract()?);
            plan.push((kind, usize::from(length), usize::from(salt)));
        }
        Ok(Self(plan))
    }

    /// The key types.
    pub fn types(&self) -> impl Iterator<Item = u8> {
        self.0.iter().map(|(kind, ..)| *kind)
    }

    /// Octets of all keys as key data, at most.
    pub fn length(&self) -> usize {
        self.0.iter().map(|(_, length, salt)| length.saturating_add(*salt).saturating_add(16)).sum()
    }

    /// Draw the keys, each with an SPI of its own; return a tuple of `KeyData`.
    pub fn draw<'py>(
        &self,
        decoder: &Decoder<'py>,
        env: &Environment<'_, 'py>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let mut spis: Vec<Vec<u8>> = Vec::with_capacity(self.0.len());
        let mut keys = Vec::with_capacity(self.0.len());
        for (kind, length, salt_length) in &self.0 {
            let mut spi = env.random(SPI_LENGTH)?;
            while spis.iter().any(|other| other == spi.as_bytes()) {
                spi = env.random(SPI_LENGTH)?;
            }
            spis.push(spi.as_bytes().to_vec());
            let key = env.random(*length)?;
            let salt = if has_salt(*kind) { Some(env.random(*salt_length)?) } else { None };
            keys.push(decoder.key_data(&KeyData {
                key_type: *kind,
                key: key.as_bytes(),
                salt: salt.as_ref().map(|salt| salt.as_bytes()),
                validity: Validity::Spi(spi.as_bytes()),
            })?);
        }
        PyTuple::new(decoder.py, keys)
    }
}

/// `sipmikey.ticket.base_ticket.seal_ticket`.
#[pyfunction]
pub fn seal_ticket<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    policy: &Object<'py>,
    tpk: &Object<'py>,
    keys: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = sealed_ticket(py, env, policy, tpk, keys);
    or_original(py, "seal_ticket", || (env, policy, tpk, keys).into_pyobject(py), found)
}

fn sealed_ticket<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    policy: &Object<'py>,
    tpk: &Object<'py>,
    keys: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let keys = tuple(keys)?;
    let key_types = keys.iter().map(|key| slot_u8(&key)).collect::<PyResult<Vec<_>>>()?;
    require!(slot!(policy, "requested_keys").cast::<PyTuple>()?.is_empty());
    let plan = take!(Sealing::plan(policy, tpk)?);
    require!(plan.terms.allows(key_types.into_iter()));
    let session = Encoder::new(py)?.key_data(&keys)?;
    require!(plan.fits(session.len()));
    let sealed = take!(plan.seal(&Environment(env), &session)?);
    let contents = contents(py, sealed.mpk_i, sealed.mpk_r, keys.into_any())?;
    Ok(Some(
        PyTuple::new(
            py,
            [decoder.ticket(&take!(ticket_of(&sealed.octets, sealed.policy_length)))?, contents],
        )?
        .into_any(),
    ))
}

/// A ticket about to be sealed: all that can be wrong has been looked at.
pub struct Sealing<'py> {
    /// Suite and flags.
    pub terms: Terms,
    prf: Prf,
    octets: Octets,
    rand_length: usize,
    key_id: Object<'py>,
}

/// A ticket sealed: the octets of the TICKET payload to the end of Ticket Data, and its keys.
pub struct Sealed {
    /// Policy, Ticket Data length and Ticket Data.
    pub octets: Octets,
    /// Octets of the policy.
    pub policy_length: usize,
    /// MPKi.
    pub mpk_i: Octets,
    /// MPKr.
    pub mpk_r: Octets,
}

impl<'py> Sealing<'py> {
    /// Look at a policy, whose requested keys are left out, and a TPK.
    pub fn plan(policy: &Object<'py>, tpk: &Object<'py>) -> Perhaps<Self> {
        let terms = take!(Terms::of(policy)?);
        let key = slot!(tpk, "key").cast_into::<Secret>()?;
        let (key, key_id) = (key.get().octets(), slot!(tpk, "key_id"));
        let rand_length = terms.suite.rand_length.max(key.len());
        require!(key.len() >= terms.suite.key_length && rand_length <= 255);
        let prf = fine!(Prf::new(terms.suite.prf, key));
        let mut octets = Octets::new(Vec::with_capacity(1024));
        put_policy(&mut octets, policy, &terms)?;
        Ok(Some(Self { terms, prf, octets, rand_length, key_id }))
    }

    /// Tell whether that many octets of key data fit, so that sealing cannot fail.
    pub fn fits(&self, session: usize) -> bool {
        let id = self.key_id.cast::<PyBytes>().map_or(0, |id| id.as_bytes().len());
        session.saturating_add(id).saturating_add(1000) < usize::from(u16::MAX)
    }

    /// Seal key data, given as a chain.
    pub fn seal(self, env: &Environment<'_, 'py>, session: &[u8]) -> Perhaps<Sealed> {
        let Self { terms: Terms { suite, .. }, prf, mut octets, rand_length, key_id } = self;
        let policy_length = octets.len();
        let timestamp = env.timestamp()?;
        let rand = env.random(rand_length)?;
        let tail = fine!(label_tail(NO_CS_ID, NO_CSB_ID, 5, &[rand.as_bytes()]));
        let protection = Protection { prf: &prf, tail: &tail };
        let mpk = env.random(suite.key_length)?;
        let spi = env.random(SPI_LENGTH)?;
        let mut plaintext = Octets::new(Vec::with_capacity(session.len().saturating_add(64)));
        let following = if session.is_empty() { payload::LAST } else { payload::KEY_DATA };
        Writer::new(&mut plaintext, usize::MAX).key(MPK, mpk.as_bytes(), spi.as_bytes())?;
        if let Some(next) = plaintext.first_mut() {
            *next = following;
        }
        plaintext.extend_from_slice(session);
        let encr_data =
            fine!(transport::seal(suite.encr_alg, &protection, NO_CSB_ID, timestamp.iv(), &plaintext));

        let data_at = octets.len();
        octets.extend_from_slice(&[0, 0, 0, 0, 0]);
        let mut chain = Writer::new(&mut octets, data_at.saturating_add(2));
        chain.t(&timestamp)?;
        chain.rand(rand.as_bytes())?;
        chain.kemac(suite.encr_alg, &encr_data)?;
        if !key_id.is_none() {
            chain.idr(role::PSK, BYTE_STRING, key_id.cast::<PyBytes>()?.as_bytes())?;
        }
        chain.v(suite.mac_alg, &[]);
        let length = octets.len().saturating_sub(data_at).saturating_sub(2).saturating_add(suite.mac_length);
        let length = u16::try_from(length)?.to_be_bytes();
        octets.iter_mut().skip(data_at).zip(length).for_each(|(to, from)| *to = from);
        let auth_key = fine!(protection.auth_key(suite.mac_alg));
        let (mac, mac_length) = fine!(compute_mac(suite.mac_alg, &auth_key, &[&octets]));
        octets.extend_from_slice(mac.get(..mac_length).unwrap_or_default());
        let (mpk_i, mpk_r) = fine!(derive_mpks(suite.prf, mpk.as_bytes(), rand.as_bytes()));
        Ok(Some(Sealed { octets, policy_length, mpk_i, mpk_r }))
    }
}

/// Read the octets of a TICKET payload that was just written, without Initiator Data.
pub fn ticket_of(octets: &[u8], policy_length: usize) -> Option<Ticket<'_>> {
    let policy =
        Policy::read(&mut Reader::new(octets.get(..policy_length)?, 0), &NO_LIMITS, "TICKET").ok()?;
    let ticket_data = octets.get(policy_length.checked_add(2)?..)?;
    Some(Ticket { policy, ticket_data, initiator_data: &[] })
}

fn contents<'py>(py: Python<'py>, mpk_i: Octets, mpk_r: Octets, keys: Object<'py>) -> PyResult<Object<'py>> {
    Rooms::get(py)?.contents.make(py, [Secret::take(py, mpk_i)?, Secret::take(py, mpk_r)?, keys])
}

fn slot_u8(key: &Object<'_>) -> PyResult<u8> {
    slot!(key, "key_type").extract()
}

/// What Ticket Data holds, each payload of Appendix A once.
struct TicketData<'a> {
    timestamp: Timestamp,
    rand: &'a [u8],
    encr_alg: u8,
    encr_data: &'a [u8],
    mac_alg: u8,
    mac: &'a [u8],
}

fn ticket_data<'a>(data: &'a [u8], limits: &Limits) -> Option<TicketData<'a>> {
    let (_, chain) = read_ticket_data(data, limits, 0).ok()?;
    let (mut timestamp, mut rand, mut kemac, mut v) = (None, None, None, None);
    let mut last_is_v = false;
    for (_, payload) in &chain {
        last_is_v = false;
        let doubled = match payload {
            Payload::T(value) => timestamp.replace(*value).is_some(),
            Payload::Rand { rand: value } => rand.replace(*value).is_some(),
            Payload::Kemac(value) if value.mac_alg == 0 => {
                kemac.replace((value.encr_alg, value.encr_data)).is_some()
            }
            Payload::Kemac(_) => true,
            Payload::V { auth_alg, mac } => {
                last_is_v = true;
                v.replace((*auth_alg, *mac)).is_some()
            }
            _ => false,
        };
        if doubled {
            return None;
        }
    }
    let ((encr_alg, encr_data), (mac_alg, mac)) = (kemac?, v?);
    let found = TicketData { timestamp: timestamp?, rand: rand?, encr_alg, encr_data, mac_alg, mac };
    last_is_v.then_some(found)
}

/// `sipmikey.ticket.base_ticket.open_ticket`.
#[pyfunction]
pub fn open_ticket<'py>(
    py: Python<'py>,
    ticket: &Object<'py>,
    policy: &Object<'py>,
    tpk: &Object<'py>,
    limits: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = opened_ticket(py, ticket, policy, tpk, limits);
    or_original(py, "open_ticket", || (ticket, policy, tpk, limits).into_pyobject(py), found)
}

fn opened_ticket<'py>(
    py: Python<'py>,
    ticket: &Object<'py>,
    policy: &Object<'py>,
    tpk: &Object<'py>,
    limits: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let limits = decoder.classes.limits(limits)?;
    let terms = take!(Terms::of(policy)?);
    let suite = terms.suite;
    let octets = slot!(ticket, "ticket_data").cast_into::<PyBytes>()?;
    let octets = octets.as_bytes();
    let policy_octets = slot!(ticket, "policy_octets").cast_into::<PyBytes>()?;
    let data = take!(ticket_data(octets, &limits));
    require!(data.mac_alg == suite.mac_alg && suite.encrypts(data.encr_alg));
    let key = slot!(tpk, "key").cast_into::<Secret>()?;
    let key = key.get().octets();
    let prf = fine!(Prf::new(suite.prf, key));
    let tail = fine!(label_tail(NO_CS_ID, NO_CSB_ID, 5, &[data.rand]));
    let protection = Protection { prf: &prf, tail: &tail };
    let length = u16::try_from(octets.len())?.to_be_bytes();
    let covered = octets.get(..octets.len().saturating_sub(suite.mac_length)).unwrap_or_default();
    let auth_key = fine!(protection.auth_key(suite.mac_alg));
    let covered = [policy_octets.as_bytes(), &length, covered];
    require!(fine!(verifies(suite.mac_alg, &auth_key, &covered, data.mac)));
    let stamp = data.timestamp.iv();
    let plaintext =
        fine!(transport::open(data.encr_alg, 0, &protection, NO_CSB_ID, stamp, data.encr_data, ""));
    let keys = fine!(read_key_data(&plaintext, &limits));
    let Some((mpk, session)) = keys.split_first() else { return Ok(None) };
    require!(mpk.key_type == MPK && session.iter().all(|key| key.key_type != MPK));
    require!(mpk.key.len() >= MINIMUM_KEY_LENGTH && data.rand.len() >= key.len().max(mpk.key.len()));
    require!(terms.allows(session.iter().map(|key| key.key_type)));
    let (mpk_i, mpk_r) = fine!(derive_mpks(suite.prf, mpk.key, data.rand));
    Ok(Some(contents(py, mpk_i, mpk_r, decoder.keys(session)?)?))
}

/// `sipmikey.ticket.base_ticket.tpk_id`.
#[pyfunction]
pub fn tpk_id<'py>(py: Python<'py>, ticket: &Object<'py>, limits: &Object<'py>) -> PyResult<Object<'py>> {
    let found = named_tpk(py, ticket, limits);
    or_original(py, "tpk_id", || (ticket, limits).into_pyobject(py), found)
}

fn named_tpk<'py>(py: Python<'py>, ticket: &Object<'py>, limits: &Object<'py>) -> Perhaps<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let octets = slot!(ticket, "ticket_data").cast_into::<PyBytes>()?;
    let (_, chain) = fine!(read_ticket_data(octets.as_bytes(), &decoder.classes.limits(limits)?, 0));
    let mut found = None;
    for (_, payload) in &chain {
        if let Payload::Idr { role: role::PSK, data, .. } = payload {
            require!(found.replace(*data).is_none());
        }
    }
    Ok(Some(match found {
        Some(data) => PyBytes::new(py, data).into_any(),
        None => py.None().into_bound(py),
    }))
}

/// Return Vi and Vr of Initiator Data in which V is there twice, the second time last.
pub fn initiator_macs<'a>(data: &'a [u8], suite: Suite, limits: &Limits) -> Option<(&'a [u8], &'a [u8])> {
    let chain = read_initiator_data(data, limits, 0).ok()?;
    let mut macs = Vec::with_capacity(2);
    for (_, payload) in &chain {
        if let Payload::V { auth_alg, mac } = payload {
            if *auth_alg != suite.mac_alg {
                return None;
            }
            macs.push(*mac);
        }
    }
    match (macs.as_slice(), chain.last()) {
        ([vi, vr], Some((_, Payload::V { .. }))) => Some((*vi, *vr)),
        _ => None,
    }
}

/// `sipmikey.ticket.resolve.check_initiator_data`.
#[pyfunction]
pub fn check_initiator_data<'py>(
    py: Python<'py>,
    ticket: &Object<'py>,
    policy: &Object<'py>,
    mpk_r: &Object<'py>,
    limits: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = checked_initiator_data(py, ticket, policy, mpk_r, limits);
    or_original(py, "check_initiator_data", || (ticket, policy, mpk_r, limits).into_pyobject(py), found)
}

fn checked_initiator_data<'py>(
    py: Python<'py>,
    ticket: &Object<'py>,
    policy: &Object<'py>,
    mpk_r: &Object<'py>,
    limits: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let terms = take!(Terms::of(policy)?);
    let data = slot!(ticket, "initiator_data").cast_into::<PyBytes>()?;
    let data = data.as_bytes();
    if terms.has('I') {
        let suite = terms.suite;
        let (_, vr) = take!(initiator_macs(data, suite, &decoder.classes.limits(limits)?));
        let auth_key = fine!(initiator_data_key(suite, mpk_r.cast::<Secret>()?.get().octets()));
        let covered = data.get(..data.len().saturating_sub(suite.mac_length)).unwrap_or_default();
        require!(fine!(verifies(suite.mac_alg, &auth_key, &[covered], vr)));
    } else {
        require!(data.is_empty());
    }
    Ok(Some(py.None().into_bound(py)))
}

/// Return the authentication key of Vr (RFC 6043 section 6.10).
fn initiator_data_key(suite: Suite, mpk_r: &[u8]) -> Outcome<Octets> {
    let prf = Prf::new(suite.prf, mpk_r)?;
    let tail = label_tail(NO_CS_ID, NO_CSB_ID, 4, &[])?;
    Protection { prf: &prf, tail: &tail }.auth_key(suite.mac_alg)
}

/// Return Initiator Data: Vi and Vr over it.
pub fn make_initiator_data(suite: Suite, vi: &[u8], mpk_r: &[u8]) -> PyResult<Vec<u8>> {
    let mut data = vec![0];
    let mut chain = Writer::new(&mut data, 0);
    chain.v(suite.mac_alg, vi);
    chain.v(suite.mac_alg, &[]);
    let key = initiator_data_key(suite, mpk_r);
    let mac = key.and_then(|key| compute_mac(suite.mac_alg, &key, &[&data]));
    let (mac, length) = mac.map_err(|fault| pyo3::exceptions::PyValueError::new_err(fault.to_string()))?;
    data.extend_from_slice(mac.get(..length).unwrap_or_default());
    Ok(data)
}

/// `sipmikey.ticket.resolve.fork_keys`.
#[pyfunction]
pub fn fork_keys<'py>(
    py: Python<'py>,
    suite: &Object<'py>,
    mpk_r: &Object<'py>,
    keys: &Object<'py>,
    modifier: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = forked_keys(py, suite, mpk_r, keys, modifier);
    or_original(py, "fork_keys", || (suite, mpk_r, keys, modifier).into_pyobject(py), found)
}

fn forked_keys<'py>(
    py: Python<'py>,
    suite: &Object<'py>,
    mpk_r: &Object<'py>,
    keys: &Object<'py>,
    modifier: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let prf = take!(Rooms::get(py)?.suite(suite)).prf;
    let data = slot!(slot!(modifier, "idr"), "data").cast_into::<PyBytes>()?;
    let rand = slot!(modifier, "rand_kms").cast_into::<PyBytes>()?;
    let mpk_r = mpk_r.cast::<Secret>()?.get().octets();
    require!(rand.as_bytes().len() >= mpk_r.len());
    let mut forked = Vec::new();
    for item in tuple(keys)?.iter() {
        if slot_u8(&item)? > 1 {
            forked.push(item);
            continue;
        }
        let key = slot!(item, "key").cast_into::<Secret>()?;
        let key = key.get().octets();
        require!(rand.as_bytes().len() >= key.len());
        let key = fine!(fork(prf, constant::FORKED_TGK, key, data.as_bytes(), rand.as_bytes()));
        let values = [
            slot!(item, "key_type"),
            Secret::take(py, key)?,
            slot!(item, "salt"),
            slot!(item, "spi"),
            slot!(item, "interval"),
        ];
        forked.push(decoder.classes.key_data.make(py, values)?);
    }
    let mpk = fine!(fork(prf, constant::FORKED_MPK_R, mpk_r, data.as_bytes(), rand.as_bytes()));
    let forked = PyTuple::new(py, forked)?.into_any();
    Ok(Some(PyTuple::new(py, [Secret::take(py, mpk)?, forked])?.into_any()))
}

/// `sipmikey.ticket.request.mpk_data`.
#[pyfunction]
pub fn mpk_data<'py>(py: Python<'py>, env: &Object<'py>, mpk: &Object<'py>) -> PyResult<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let spi = Environment(env).random(SPI_LENGTH)?;
    let none = py.None().into_bound(py);
    let kind = decoder.classes.key_type.named(py, MPK.into());
    decoder.classes.key_data.make(py, [kind, mpk.clone(), none.clone(), spi.into_any(), none])
}

/// Add a TICKET payload object whose Initiator Data are others; return where these begin.
pub fn put_ticket(out: &mut Vec<u8>, ticket: &Object<'_>, initiator_data: &[u8]) -> PyResult<()> {
    out.extend_from_slice(slot!(ticket, "policy_octets").cast::<PyBytes>()?.as_bytes());
    put_long(out, slot!(ticket, "ticket_data").cast::<PyBytes>()?.as_bytes())?;
    put_long(out, initiator_data)
}
