//! Ticket Transfer: `sipmikey.ticket.transfer_message`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use sipmikey_core::derivation::{NO_CS_ID, Protection, label_tail};
use sipmikey_core::header::{GenericIdEntry, SessionMap};
use sipmikey_core::mac::{compute_mac, same};
use sipmikey_core::message::Message;
use sipmikey_core::payload::{Payload, Timestamp};
use sipmikey_core::prf::Prf;
use sipmikey_core::registry::{MIKEY_VERSION, PROT_SRTP, map_type, payload};
use sipmikey_core::transport;

use crate::decode::{Decoder, octets};
use crate::encode::{Encoder, Writer, slot, tuple};
use crate::environment::{Environment, unix_ns};
use crate::exchange::{closing_mac, is_closed, only_identity, only_rand, only_timestamp};
use crate::keys::{Keys, timestamp};
use crate::original::{Perhaps, fine, or_original, require, take};
use crate::policy::{Rooms, Suite, Terms, policy_of, role, text};
use crate::raise::OrRaise;
use crate::secret::Secret;
use crate::slots::Maker;
use crate::ticket::{initiator_macs, make_initiator_data, put_ticket, verifies};

type Object<'py> = Bound<'py, PyAny>;

const TRANSFER_INIT: u8 = 14;
const RAND_INITIATOR: u8 = 1;
const URI: u8 = 1;

static RECEIVED: PyOnceLock<Maker<13>> = PyOnceLock::new();

fn received(py: Python<'_>) -> PyResult<&Maker<13>> {
    RECEIVED.get_or_try_init(py, || {
        let class = py.import("sipmikey.ticket.transfer_message")?.getattr("ReceivedInit")?;
        let names = [
            "message",
            "ticket",
            "policy",
            "suite",
            "timestamp",
            "rand_i",
            "initiator",
            "responder",
            "identity_i",
            "identity_r",
            "crypto_sessions",
            "policies",
            "extensions",
        ];
        Maker::new(&class, names)
    })
}

/// `sipmikey.ticket.transfer_message.read_transfer_init`.
#[pyfunction]
pub fn read_transfer_init<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    data: &Object<'py>,
    identity: &Object<'py>,
) -> PyResult<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let raw = octets(data)?;
    let limits = decoder.classes.limits(&Environment(env).limits()?)?;
    let message = Message::read(raw.as_bytes(), &limits).or_raise(py)?;
    let found = received_init(&decoder, env, &raw, &message, identity);
    or_original(py, "read_transfer_init", || (env, data, identity).into_pyobject(py), found)
}

fn received_init<'py>(
    decoder: &Decoder<'py>,
    env: &Object<'py>,
    raw: &Bound<'py, PyBytes>,
    message: &Message<'_>,
    identity: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let (py, rooms) = (decoder.py, Rooms::get(decoder.py)?);
    let env = Environment(env);
    let limits = env.limits()?;
    require!(message.header.data_type == TRANSFER_INIT);
    let suite = Suite::of(message.header.prf);
    let mut ticket_at = None;
    for (index, (_, item)) in message.payloads.iter().enumerate() {
        if let Payload::Ticket(ticket) = item {
            require!(ticket_at.replace((index, ticket)).is_none());
        }
    }
    let (ticket_at, read_ticket) = take!(ticket_at);
    let (stamp_at, stamp) = take!(only_timestamp(message));
    let rand_i = take!(only_rand(message, RAND_INITIATOR));
    let idr_i = take!(only_identity(message, role::INITIATOR));
    let idr_r = take!(only_identity(message, role::RESPONDER));
    require!(is_closed(message, suite) && describes(&message.header.map));
    require!(kemac_fits(message, suite, read_ticket.policy.flags));
    let forking = read_ticket.policy.flags & sipmikey_core::policy::flag('I') != 0;
    require!(initiator_data_fits(message, suite, read_ticket.initiator_data, forking, decoder, &limits)?);

    let made = decoder.message(raw, message)?;
    let payloads = slot!(made, "payloads").cast_into::<PyTuple>()?;
    let ticket = payloads.get_item(ticket_at)?;
    let policy = take!(policy_of(&ticket, &limits)?);
    let terms = take!(Terms::of(&policy)?);
    require!(terms.suite == suite && terms.has('O'));
    require!(env.accepts(&stamp)?);
    require!(is_valid(&policy, env.now_ns()?)?);

    let (initiator, identity_i) = match idr_i {
        Some(index) => named(&payloads.get_item(index)?)?,
        None => {
            let initiator = slot!(policy, "initiator");
            require!(!initiator.is_none());
            let octets = PyBytes::new(py, initiator.cast::<pyo3::types::PyString>()?.to_str()?.as_bytes());
            (initiator, octets.into_any())
        }
    };
    let (responder, identity_r) = match idr_r {
        Some(index) => named(&payloads.get_item(index)?)?,
        None => {
            let octets = PyBytes::new(py, rooms.canonical(identity)?.to_str()?.as_bytes());
            (identity.clone(), octets.into_any())
        }
    };
    let policies = PyDict::new(py);
    let mut extensions = Vec::new();
    for ((_, item), object) in message.payloads.iter().zip(payloads.iter()) {
        match item {
            Payload::Sp(sp) => {
                require!(!policies.contains(sp.policy_no)?);
                policies.set_item(sp.policy_no, object)?;
            }
            Payload::Ext { .. } => extensions.push(object),
            _ => {}
        }
    }
    require!(policies_fit(message));
    let sessions = match message.header.map {
        SessionMap::GenericId(_) => slot!(slot!(made, "header"), "crypto_sessions"),
        _ => PyTuple::empty(py).into_any(),
    };
    let values = [
        made,
        ticket,
        policy,
        rooms.suite_object(py, message.header.prf),
        slot!(payloads.get_item(stamp_at)?, "timestamp"),
        PyBytes::new(py, rand_i).into_any(),
        initiator,
        responder,
        identity_i,
        identity_r,
        sessions,
        policies.into_any(),
        PyTuple::new(py, extensions)?.into_any(),
    ];
    Ok(Some(received(py)?.make(py, values)?))
}

/// Return the text and the octets of an IDR.
fn named<'py>(idr: &Object<'py>) -> PyResult<(Object<'py>, Object<'py>)> {
    Ok((text(idr)?, slot!(idr, "data")))
}

/// Tell whether a ticket with this policy is valid at a time.
fn is_valid(policy: &Object<'_>, now_ns: i64) -> PyResult<bool> {
    let (from, until) = (slot!(policy, "valid_from"), slot!(policy, "valid_until"));
    let begun = from.is_none() || unix_ns(&timestamp(&from)?).is_some_and(|from| now_ns >= from);
    let ended = !until.is_none() && unix_ns(&timestamp(&until)?).is_none_or(|until| now_ns >= until);
    Ok(begun && !ended)
}

/// Tell whether a CS ID map is one of Ticket Transfer: each CS ID once, Session Data of the right length.
fn describes(map: &SessionMap<'_>) -> bool {
    match map {
        SessionMap::Empty(count) => *count == 0,
        SessionMap::SrtpId(_) => false,
        SessionMap::GenericId(entries) => {
            let mut seen = [false; 256];
            entries.iter().all(|entry| {
                let first = seen.get_mut(usize::from(entry.cs_id));
                first.is_some_and(|first| !std::mem::replace(first, true)) && session_data_fits(entry)
            })
        }
    }
}

fn session_data_fits(entry: &GenericIdEntry<'_>) -> bool {
    if entry.prot_type != PROT_SRTP {
        return true;
    }
    match entry.session_data.len() {
        0 | 4 => !entry.s,
        10 => entry.s,
        _ => false,
    }
}

/// Tell whether each policy that a crypto session names is given, for its protocol; none with the Empty map.
fn policies_fit(message: &Message<'_>) -> bool {
    let policy = |number: u8| {
        message.payloads.iter().find_map(|(_, item)| match item {
            Payload::Sp(sp) if sp.policy_no == number => Some(sp.prot_type),
            _ => None,
        })
    };
    match &message.header.map {
        SessionMap::GenericId(entries) => entries
            .iter()
            .all(|entry| entry.policies.iter().all(|number| policy(*number) == Some(entry.prot_type))),
        _ => !message.payloads.iter().any(|(_, item)| matches!(item, Payload::Sp(_))),
    }
}

/// Tell whether the KEMAC, if any, is allowed and of the suite.
fn kemac_fits(message: &Message<'_>, suite: Suite, flags: u16) -> bool {
    let mut kemacs = message.payloads.iter().filter_map(|(_, item)| match item {
        Payload::Kemac(kemac) => Some(kemac),
        _ => None,
    });
    match (kemacs.next(), kemacs.next()) {
        (None, _) => true,
        (Some(kemac), None) => {
            flags & sipmikey_core::policy::flag('L') != 0 && suite.encrypts(kemac.encr_alg)
        }
        _ => false,
    }
}

/// Tell whether Initiator Data are there exactly with key forking, and Vi is the MAC of the message.
fn initiator_data_fits<'py>(
    message: &Message<'_>,
    suite: Suite,
    data: &[u8],
    forking: bool,
    decoder: &Decoder<'py>,
    limits: &Object<'py>,
) -> PyResult<bool> {
    if !forking {
        return Ok(data.is_empty());
    }
    let Some((vi, _)) = initiator_macs(data, suite, &decoder.classes.limits(limits)?) else {
        return Ok(false);
    };
    Ok(matches!(message.payloads.last(), Some((_, Payload::V { mac, .. })) if same(vi, mac)))
}

/// `sipmikey.ticket.transfer_message.verify_transfer_init`.
#[pyfunction]
pub fn verify_transfer_init<'py>(
    py: Python<'py>,
    message: &Object<'py>,
    suite: &Object<'py>,
    protection: &Object<'py>,
    identities: &Object<'py>,
) -> PyResult<Object<'py>> {
    let found = verified(message, suite, protection, identities);
    let arguments = || (message, suite, protection, identities).into_pyobject(py);
    or_original(py, "verify_transfer_init", arguments, found)
}

fn verified<'py>(
    message: &Object<'py>,
    suite: &Object<'py>,
    protection: &Object<'py>,
    identities: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let py = message.py();
    let suite = take!(Rooms::get(py)?.suite(suite));
    let mac = take!(closing_mac(message, suite)?);
    let raw = slot!(message, "raw").cast_into::<PyBytes>()?;
    let raw = raw.as_bytes();
    let span = take!(initiator_data_place(message, raw.len())?);
    let end = raw.len().saturating_sub(suite.mac_length);
    require!(span.1 <= end);
    let (before, after) = (take!(raw.get(..span.0)), take!(raw.get(span.1..end)));
    let keys = Keys::of(protection)?;
    let auth_key = fine!(keys.core().auth_key(suite.mac_alg));
    let covered = [before, after, identities.cast::<PyBytes>()?.as_bytes()];
    require!(fine!(verifies(suite.mac_alg, &auth_key, &covered, mac.as_bytes())));
    Ok(Some(py.None().into_bound(py)))
}

/// Return where Initiator Data with their length begin and end, in the first TICKET of a message.
fn initiator_data_place(message: &Object<'_>, length: usize) -> Perhaps<(usize, usize)> {
    let classes = crate::classes::Classes::get(message.py())?;
    let payloads = slot!(message, "payloads").cast_into::<PyTuple>()?;
    let offsets = slot!(message, "offsets").cast_into::<PyTuple>()?;
    for (index, item) in payloads.iter().enumerate() {
        if classes.ticket.made(&item) {
            let following = offsets.get_item(index.saturating_add(1));
            let end = following.map_or(Ok(length), |end| end.extract())?;
            let span = slot!(item, "initiator_data").cast::<PyBytes>()?.as_bytes().len().saturating_add(2);
            return Ok(end.checked_sub(span).map(|start| (start, end)));
        }
    }
    Ok(None)
}

/// `sipmikey.ticket.transfer_message.build_transfer_init`.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn build_transfer_init<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    grant: &Object<'py>,
    crypto_sessions: &Object<'py>,
    policies: &Object<'py>,
    initiator: &Object<'py>,
    responder: &Object<'py>,
    extensions: &Object<'py>,
    keys: &Object<'py>,
    rand_i: &Object<'py>,
) -> PyResult<Object<'py>> {
    let [crypto_sessions, policies, extensions, keys] =
        [tuple(crypto_sessions)?, tuple(policies)?, tuple(extensions)?, tuple(keys)?];
    let found =
        built(py, env, grant, &crypto_sessions, &policies, initiator, responder, &extensions, &keys, rand_i);
    let arguments = || {
        (env, grant, &crypto_sessions, &policies, initiator, responder, &extensions, &keys, rand_i)
            .into_pyobject(py)
    };
    or_original(py, "build_transfer_init", arguments, found)
}

#[allow(clippy::too_many_arguments)]
fn built<'py>(
    py: Python<'py>,
    env: &Object<'py>,
    grant: &Object<'py>,
    crypto_sessions: &Bound<'py, PyTuple>,
    policies: &Bound<'py, PyTuple>,
    initiator: &Object<'py>,
    responder: &Object<'py>,
    extensions: &Bound<'py, PyTuple>,
    keys: &Bound<'py, PyTuple>,
    rand_i: &Object<'py>,
) -> Perhaps<Object<'py>> {
    let (rooms, encoder) = (Rooms::get(py)?, Encoder::new(py)?);
    let env = Environment(env);
    let policy = slot!(grant, "policy");
    let suite = take!(rooms.suite(&slot!(policy, "suite")));
    let flags: u16 = slot!(slot!(policy, "flags"), "bits").extract()?;
    let mpk_i = slot!(grant, "mpk_i").cast_into::<Secret>()?;
    let mpk_i = mpk_i.get().octets();
    let mpk_r = slot!(grant, "mpk_r");
    let ticket = slot!(grant, "ticket");
    let prf = fine!(Prf::new(suite.prf, mpk_i));
    let mut longest = suite.rand_length.max(mpk_i.len());
    for key in slot!(grant, "keys").cast::<PyTuple>()?.iter().chain(keys.iter()) {
        if !matches!(slot!(key, "key_type").extract::<u8>()?, 2 | 3) {
            longest = longest.max(slot!(key, "key").cast::<Secret>()?.get().octets().len());
        }
    }
    let (name_i, name_r) = (rooms.canonical(initiator)?, rooms.canonical(responder)?);
    let names = [name_i.to_str()?.as_bytes(), name_r.to_str()?.as_bytes()];
    let (entries, map) = sessions(&encoder, crypto_sessions)?;
    let plaintext = encoder.key_data(keys)?;
    let initiator_data = slot!(ticket, "initiator_data").cast_into::<PyBytes>()?;
    // What can fail is tried before randomness is drawn.
    let given = if rand_i.is_none() { None } else { Some(rand_i.clone().cast_into::<PyBytes>()?) };
    let rand_length = given.as_ref().map_or(longest, |rand| rand.as_bytes().len());
    require!(rand_length <= 255 && plaintext.len() < 60_000);
    let mut trial = Vec::new();
    let empty = Timestamp { ts_type: 0, value: 0 };
    let parts = Parts { names, policies, extensions, kemac: None };
    put_before(&mut Writer::new(&mut trial, usize::MAX), &encoder, &parts, &empty, &[])?;
    put_after(&mut Writer::new(&mut trial, usize::MAX), &encoder, &parts)?;
    put_ticket(&mut trial, &ticket, &[0; 80])?;

    let rand = match given {
        Some(rand) => rand,
        None => env.random(longest)?,
    };
    let csb_id = env.random(4)?;
    let mut head = vec![MIKEY_VERSION, TRANSFER_INIT, payload::LAST];
    let response = u8::from(flags & sipmikey_core::policy::flag('F') != 0);
    head.push(response << 7 | suite.prf);
    head.extend_from_slice(csb_id.as_bytes());
    head.extend_from_slice(&[u8::try_from(crypto_sessions.len())?, map]);
    head.extend_from_slice(&entries);
    let stamp = env.timestamp()?;
    let csb_id = csb_id.as_bytes().iter().fold(0, |id, octet| id << 8 | u32::from(*octet));
    let tail = fine!(label_tail(NO_CS_ID, csb_id, 1, &[rand.as_bytes(), &[]]));
    let protection = Protection { prf: &prf, tail: &tail };
    let sealed = if keys.is_empty() {
        None
    } else {
        Some(fine!(transport::seal(suite.encr_alg, &protection, csb_id, stamp.iv(), &plaintext)))
    };
    let parts = Parts { kemac: sealed.as_ref().map(|data| (suite.encr_alg, data.as_slice())), ..parts };

    let mut out = head;
    let mut chain = Writer::new(&mut out, 2);
    put_before(&mut chain, &encoder, &parts, &stamp, rand.as_bytes())?;
    chain.begin(payload::TICKET);
    let ticket_at = chain.out.len();
    put_ticket(chain.out, &ticket, initiator_data.as_bytes())?;
    let ticket_end = chain.out.len();
    put_after(&mut chain, &encoder, &parts)?;
    chain.v(suite.mac_alg, &[]);
    let data_at = ticket_end.saturating_sub(initiator_data.as_bytes().len()).saturating_sub(2);
    let auth_key = fine!(protection.auth_key(suite.mac_alg));
    let (before, after) = (take!(out.get(..data_at)), take!(out.get(ticket_end..)));
    let covered = [before, after, names[0], names[1]];
    let (mac, length) = fine!(compute_mac(suite.mac_alg, &auth_key, &covered));
    let mac = mac.get(..length).unwrap_or_default();
    if !mpk_r.is_none() {
        let data = make_initiator_data(suite, mac, mpk_r.cast::<Secret>()?.get().octets())?;
        let mut renewed = Vec::with_capacity(out.len());
        put_ticket(&mut renewed, &ticket, &data)?;
        out.splice(ticket_at..ticket_end, renewed);
    }
    out.extend_from_slice(mac);
    Ok(Some(PyBytes::new(py, &out).into_any()))
}

/// What stands around the TICKET of a TRANSFER_INIT.
struct Parts<'a, 'py> {
    names: [&'a [u8]; 2],
    policies: &'a Bound<'py, PyTuple>,
    extensions: &'a Bound<'py, PyTuple>,
    kemac: Option<(u8, &'a [u8])>,
}

fn put_before(
    chain: &mut Writer<'_>,
    encoder: &Encoder<'_>,
    parts: &Parts<'_, '_>,
    stamp: &Timestamp,
    rand: &[u8],
) -> PyResult<()> {
    chain.t(stamp)?;
    chain.randr(RAND_INITIATOR, rand)?;
    for (name, role) in parts.names.iter().zip([role::INITIATOR, role::RESPONDER]) {
        chain.idr(role, URI, name)?;
    }
    put_objects(chain, encoder, parts.policies)
}

fn put_after(chain: &mut Writer<'_>, encoder: &Encoder<'_>, parts: &Parts<'_, '_>) -> PyResult<()> {
    put_objects(chain, encoder, parts.extensions)?;
    match parts.kemac {
        Some((encr_alg, data)) => chain.kemac(encr_alg, data),
        None => Ok(()),
    }
}

fn put_objects(chain: &mut Writer<'_>, encoder: &Encoder<'_>, items: &Bound<'_, PyTuple>) -> PyResult<()> {
    items.iter().try_for_each(|item| chain.object(encoder, &item))
}

/// Return the octets of the CS ID map, and its type.
fn sessions(encoder: &Encoder<'_>, entries: &Bound<'_, PyTuple>) -> PyResult<(Vec<u8>, u8)> {
    let mut out = Vec::new();
    u8::try_from(entries.len())?;
    for entry in entries.iter() {
        encoder.generic_id(&entry, &mut out)?;
    }
    Ok((out, if entries.is_empty() { map_type::EMPTY } else { map_type::GENERIC_ID }))
}
