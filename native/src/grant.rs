//! A whole grant of the KMS: `sipmikey.ticket.request.grant_ticket`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use sipmikey_core::derivation::{NO_CS_ID, Protection, label_tail};
use sipmikey_core::prf::Octets;
use sipmikey_core::registry::{MIKEY_VERSION, map_type, payload};
use sipmikey_core::transport;

use crate::decode::Decoder;
use crate::encode::{Encoder, Writer, slot, tuple};
use crate::environment::Environment;
use crate::exchange::close;
use crate::original::{Perhaps, fine, or_original, require, take};
use crate::policy::{Rooms, granted, role};
use crate::secret::{Prf, Secret};
use crate::ticket::{KeyPlan, Sealing, ticket_of};

type Object<'py> = Bound<'py, PyAny>;

const SPI_LENGTH: usize = 4;
const MPK: u8 = 6;
const URI: u8 = 1;
const REQUEST_RESP: u8 = 13;

/// `sipmikey.ticket.request.grant_ticket`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn grant_ticket<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    init: &Object<'py>,
    prf: &Object<'py>,
    policy: &Object<'py>,
    tpk: &Object<'py>,
    kms: &Object<'py>,
    keys: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = grant(py, env, init, prf, policy, tpk, kms, keys);
    or_original(py, "grant_ticket", || (env, init, prf, policy, tpk, kms, keys).into_pyobject(py), found)
}

#[allow(clippy::too_many_arguments)]
fn grant<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    init: &Object<'py>,
    prf: &Object<'py>,
    policy: &Object<'py>,
    tpk: &Object<'py>,
    kms: &Object<'py>,
    keys: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let (rooms, decoder, encoder) = (Rooms::get(py)?, Decoder::new(py)?, Encoder::new(py)?);
    let env = Environment(env);
    let suite = take!(rooms.suite(&slot!(init, "suite")));
    require!(slot!(init, "kind").is(rooms.request.bind(py)));
    let plan = take!(Sealing::plan(policy, tpk)?);
    let message = slot!(init, "message");
    let raw = slot!(message, "raw").cast_into::<PyBytes>()?;
    let csb_id: u32 = slot!(slot!(message, "header"), "csb_id").extract()?;
    let rand = slot!(init, "rand").cast_into::<PyBytes>()?;
    let tail = fine!(label_tail(NO_CS_ID, csb_id, 2, &[rand.as_bytes(), &[]]));
    let protection = Protection { prf: prf.cast::<Prf>()?.get().core(), tail: &tail };
    let kms = rooms.canonical(kms)?;
    let kms = kms.to_str()?.as_bytes();
    require!(kms.len() < 10_000);
    // What can fail has been tried: from here on randomness is drawn.
    let keys = if keys.is_none() {
        let wanted = KeyPlan::of(&slot!(policy, "requested_keys"))?;
        require!(plan.terms.allows(wanted.types()) && plan.fits(wanted.length()));
        wanted.draw(&decoder, &env)?
    } else {
        let keys = tuple(keys)?;
        let kinds = keys.iter().map(|key| slot!(key, "key_type").extract());
        let kinds = kinds.collect::<PyResult<Vec<u8>>>()?;
        require!(plan.terms.allows(kinds.into_iter()) && plan.fits(encoder.key_data(&keys)?.len()));
        keys
    };
    let session = encoder.key_data(&keys)?;
    let forking = plan.terms.has('I');
    let sealed = take!(plan.seal(&env, &session)?);

    let mut plaintext = Octets::new(Vec::with_capacity(session.len().saturating_add(128)));
    let mut chain = Writer::new(&mut plaintext, usize::MAX);
    chain.key(MPK, &sealed.mpk_i, env.random(SPI_LENGTH)?.as_bytes())?;
    if forking {
        chain.key(MPK, &sealed.mpk_r, env.random(SPI_LENGTH)?.as_bytes())?;
    }
    chain.append(payload::KEY_DATA, &session);
    let timestamp = env.timestamp()?;
    let encr_data = fine!(transport::seal(suite.encr_alg, &protection, csb_id, timestamp.iv(), &plaintext));
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(&[MIKEY_VERSION, REQUEST_RESP, payload::LAST, suite.prf]);
    out.extend_from_slice(&csb_id.to_be_bytes());
    out.extend_from_slice(&[0, map_type::EMPTY]);
    let mut chain = Writer::new(&mut out, 2);
    chain.t(&timestamp)?;
    chain.idr(role::KMS, URI, kms)?;
    chain.begin(payload::TICKET);
    chain.out.extend_from_slice(&sealed.octets);
    chain.out.extend_from_slice(&[0, 0]);
    chain.kemac(suite.encr_alg, &encr_data)?;
    chain.v(suite.mac_alg, &[]);
    let response = take!(close(py, out, suite, &protection, raw.as_bytes())?);

    let ticket = take!(ticket_of(&sealed.octets, sealed.policy_length));
    let mpk_r = if forking { Secret::take(py, sealed.mpk_r)? } else { py.None().into_bound(py) };
    let values =
        [decoder.ticket(&ticket)?, granted(policy)?, Secret::take(py, sealed.mpk_i)?, mpk_r, keys.into_any()];
    Ok(Some(PyTuple::new(py, [response, rooms.grant.make(py, values)?])?.into_any()))
}
