//! Objects of the package made of what the core has read.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyTuple};
use sipmikey_core::header::{GenericIdEntry, Header, SessionMap, SrtpIdEntry};
use sipmikey_core::kemac::{Dh, Kemac, KeyData, Validity, read_key_data};
use sipmikey_core::message::Message;
use sipmikey_core::payload::{Chain, Payload, Sp, Timestamp};
use sipmikey_core::policy::{Policy, Ticket, read_initiator_data, read_ticket_data};
use sipmikey_core::registry::map_type;

use crate::classes::{Classes, SMALL_PARAMS};
use crate::raise::OrRaise;
use crate::secret::Secret;

type Object<'py> = Bound<'py, PyAny>;

/// Makes objects: the interpreter and the classes.
#[derive(Clone, Copy)]
pub struct Decoder<'py> {
    /// The interpreter.
    pub py: Python<'py>,
    /// The classes.
    pub classes: &'py Classes,
}

impl<'py> Decoder<'py> {
    /// Return a decoder.
    #[inline]
    pub fn new(py: Python<'py>) -> PyResult<Self> {
        Ok(Self { py, classes: Classes::get(py)? })
    }

    #[inline]
    fn bytes(&self, octets: &[u8]) -> Object<'py> {
        PyBytes::new(self.py, octets).into_any()
    }

    #[inline]
    fn int(&self, value: u64) -> Object<'py> {
        PyInt::new(self.py, value).into_any()
    }

    #[inline]
    fn none(&self) -> Object<'py> {
        self.py.None().into_bound(self.py)
    }

    #[inline]
    fn bool(&self, value: bool) -> Object<'py> {
        PyBool::new(self.py, value).to_owned().into_any()
    }

    fn tuple(&self, items: impl ExactSizeIterator<Item = PyResult<Object<'py>>>) -> PyResult<Object<'py>> {
        let items = items.collect::<PyResult<Vec<_>>>()?;
        Ok(PyTuple::new(self.py, items)?.into_any())
    }

    /// Return a `Message` of octets that were read.
    pub fn message(&self, raw: &Bound<'py, PyBytes>, message: &Message<'_>) -> PyResult<Object<'py>> {
        let header = self.header(&message.header)?;
        let (payloads, offsets) = self.chain(&message.payloads)?;
        self.classes.message.make(self.py, [header, payloads, raw.clone().into_any(), offsets])
    }

    /// Return the payloads of a chain, and their offsets.
    pub fn chain(&self, chain: &Chain<'_>) -> PyResult<(Object<'py>, Object<'py>)> {
        let payloads = self.tuple(chain.iter().map(|(_, payload)| self.payload(payload)))?;
        let offsets = self.tuple(chain.iter().map(|(offset, _)| Ok(self.int(*offset as u64))))?;
        Ok((payloads, offsets))
    }

    /// Return a `Header`.
    pub fn header(&self, header: &Header<'_>) -> PyResult<Object<'py>> {
        let classes = self.classes;
        let (kind, sessions, empty) = match &header.map {
            SessionMap::Empty(count) => (map_type::EMPTY, PyTuple::empty(self.py).into_any(), *count),
            SessionMap::GenericId(entries) => {
                let entries = self.tuple(entries.iter().map(|entry| self.generic_id(entry)))?;
                (map_type::GENERIC_ID, entries, 0)
            }
            SessionMap::SrtpId(entries) => {
                (map_type::SRTP_ID, self.tuple(entries.iter().map(|entry| self.srtp_id(entry)))?, 0)
            }
        };
        let values = [
            classes.data_type.named(self.py, header.data_type.into()),
            self.bool(header.v),
            classes.prf_func.named(self.py, header.prf.into()),
            self.int(header.csb_id.into()),
            classes.map_type.named(self.py, kind.into()),
            sessions,
            self.int(empty.into()),
        ];
        classes.header.make(self.py, values)
    }

    fn generic_id(&self, entry: &GenericIdEntry<'_>) -> PyResult<Object<'py>> {
        let values = [
            self.int(entry.cs_id.into()),
            self.classes.prot_type.named(self.py, entry.prot_type.into()),
            self.bool(entry.s),
            self.tuple(entry.policies.iter().map(|number| Ok(self.int((*number).into()))))?,
            self.bytes(entry.session_data),
            self.bytes(entry.spi),
        ];
        self.classes.generic_id.make(self.py, values)
    }

    fn srtp_id(&self, entry: &SrtpIdEntry) -> PyResult<Object<'py>> {
        let values =
            [self.int(entry.policy_no.into()), self.int(entry.ssrc.into()), self.int(entry.roc.into())];
        self.classes.srtp_id.make(self.py, values)
    }

    /// Return a `Timestamp`.
    pub fn timestamp(&self, timestamp: &Timestamp) -> PyResult<Object<'py>> {
        let kind = self.classes.ts_type.named(self.py, timestamp.ts_type.into());
        self.classes.timestamp.make(self.py, [kind, self.int(timestamp.value)])
    }

    /// Return a payload.
    pub fn payload(&self, payload: &Payload<'_>) -> PyResult<Object<'py>> {
        let (py, classes) = (self.py, self.classes);
        match payload {
            Payload::Kemac(kemac) => self.kemac(kemac),
            Payload::Pke { cache, data } => {
                classes.pke.make(py, [classes.pke_cache.named(py, (*cache).into()), self.bytes(data)])
            }
            Payload::Dh(dh) => self.dh(dh),
            Payload::Sign { signature_type, signature } => {
                let kind = classes.signature_type.named(py, (*signature_type).into());
                classes.sign.make(py, [kind, self.bytes(signature)])
            }
            Payload::T(timestamp) => classes.t.make(py, [self.timestamp(timestamp)?]),
            Payload::Id { id_type, data } => {
                classes.id.make(py, [classes.id_type.named(py, (*id_type).into()), self.bytes(data)])
            }
            Payload::Cert { cert_type, data } => {
                classes.cert.make(py, [classes.cert_type.named(py, (*cert_type).into()), self.bytes(data)])
            }
            Payload::Chash { hash_func, hash } => {
                classes.chash.make(py, [classes.hash_func.named(py, (*hash_func).into()), self.bytes(hash)])
            }
            Payload::V { auth_alg, mac } => {
                classes.v.make(py, [classes.mac_alg.named(py, (*auth_alg).into()), self.bytes(mac)])
            }
            Payload::Sp(sp) => self.sp(sp),
            Payload::Rand { rand } => classes.rand.make(py, [self.bytes(rand)]),
            Payload::Err { error_no, reserved } => {
                let number = classes.error_no.named(py, (*error_no).into());
                classes.err.make(py, [number, self.int((*reserved).into())])
            }
            Payload::Tr { role, timestamp } => {
                let role = classes.ts_role.named(py, (*role).into());
                classes.tr.make(py, [role, self.timestamp(timestamp)?])
            }
            Payload::Idr { role, id_type, data } => self.idr(*role, *id_type, data),
            Payload::Randr { role, rand } => {
                classes.randr.make(py, [classes.rand_role.named(py, (*role).into()), self.bytes(rand)])
            }
            Payload::Tp(policy) => classes.tp.make(py, self.policy(policy)?),
            Payload::Ticket(ticket) => self.ticket(ticket),
            Payload::KeyData(key) => self.key_data(key),
            Payload::Ext { ext_type, data } => {
                classes.ext.make(py, [classes.ext_type.named(py, (*ext_type).into()), self.bytes(data)])
            }
        }
    }

    /// Return an `IDR`.
    pub fn idr(&self, role: u8, id_type: u8, data: &[u8]) -> PyResult<Object<'py>> {
        let values = [
            self.classes.id_role.named(self.py, role.into()),
            self.classes.id_type.named(self.py, id_type.into()),
            self.bytes(data),
        ];
        self.classes.idr.make(self.py, values)
    }

    /// Return a `KEMAC`.
    pub fn kemac(&self, kemac: &Kemac<'_>) -> PyResult<Object<'py>> {
        let values = [
            self.classes.encr_alg.named(self.py, kemac.encr_alg.into()),
            self.bytes(kemac.encr_data),
            self.classes.mac_alg.named(self.py, kemac.mac_alg.into()),
            self.bytes(kemac.mac),
        ];
        self.classes.kemac.make(self.py, values)
    }

    /// Return SPI and interval of a key validity.
    fn validity(&self, validity: &Validity<'_>) -> PyResult<(Object<'py>, Object<'py>)> {
        Ok(match validity {
            Validity::Null => (self.none(), self.none()),
            Validity::Spi(spi) => (self.bytes(spi), self.none()),
            Validity::Interval(from, to) => {
                let values = [self.bytes(from), self.bytes(to)];
                (self.none(), self.classes.interval.make(self.py, values)?)
            }
        })
    }

    /// Return a `KeyData`.
    pub fn key_data(&self, key: &KeyData<'_>) -> PyResult<Object<'py>> {
        let (spi, interval) = self.validity(&key.validity)?;
        let salt = match key.salt {
            Some(salt) => Secret::of(self.py, salt)?,
            None => self.none(),
        };
        let kind = self.classes.key_type.named(self.py, key.key_type.into());
        self.classes.key_data.make(self.py, [kind, Secret::of(self.py, key.key)?, salt, spi, interval])
    }

    fn dh(&self, dh: &Dh<'_>) -> PyResult<Object<'py>> {
        let (spi, interval) = self.validity(&dh.validity)?;
        let group = self.classes.dh_group.named(self.py, dh.group.into());
        let values = [group, self.bytes(dh.value), self.int(dh.reserved.into()), spi, interval];
        self.classes.dh.make(self.py, values)
    }

    fn sp(&self, sp: &Sp<'_>) -> PyResult<Object<'py>> {
        let params =
            self.tuple(sp.params.iter().map(|(kind, value)| self.param(sp.is_srtp(), *kind, value)))?;
        let values = [
            self.int(sp.policy_no.into()),
            self.classes.prot_type.named(self.py, sp.prot_type.into()),
            params,
        ];
        self.classes.sp.make(self.py, values)
    }

    fn param(&self, srtp: bool, kind: u8, value: &[u8]) -> PyResult<Object<'py>> {
        let (py, classes) = (self.py, self.classes);
        let make = || {
            let kind = if srtp { classes.srtp_param.named(py, kind.into()) } else { self.int(kind.into()) };
            classes.param.make(py, [kind, self.bytes(value)])
        };
        match value {
            // Frozen objects with few values, of which a policy has a dozen: made once each.
            [octet] if srtp && usize::from(kind) < SMALL_PARAMS => {
                classes.small_params.get(py, usize::from(kind) << 8 | usize::from(*octet), make)
            }
            _ => make(),
        }
    }

    /// Return `TicketFlags`.
    pub fn flags(&self, bits: u16) -> PyResult<Object<'py>> {
        let classes = self.classes;
        classes.flag_sets.get(self.py, usize::from(bits), || {
            classes.flags.make(self.py, [classes.ticket_flag.bind(self.py).call1((bits,))?])
        })
    }

    fn policy(&self, policy: &Policy<'_>) -> PyResult<[Object<'py>; 8]> {
        let (payloads, _) = self.chain(&policy.payloads)?;
        Ok([
            self.classes.ticket_type.named(self.py, policy.ticket_type),
            self.int(policy.subtype.into()),
            self.int(policy.version.into()),
            self.classes.prf_func.named(self.py, policy.prf.into()),
            self.flags(policy.flags)?,
            self.int(policy.res.into()),
            payloads,
            self.bytes(policy.octets),
        ])
    }

    /// Return a `TICKET`.
    pub fn ticket(&self, ticket: &Ticket<'_>) -> PyResult<Object<'py>> {
        let [p0, p1, p2, p3, p4, p5, p6, p7] = self.policy(&ticket.policy)?;
        let (data, initiator) = (self.bytes(ticket.ticket_data), self.bytes(ticket.initiator_data));
        self.classes.ticket.make(self.py, [p0, p1, p2, p3, p4, p5, p6, p7, data, initiator])
    }
}

/// Return octets as `bytes`: what is given, or a copy of another buffer.
pub fn octets<'py>(data: &Object<'py>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(octets) = data.cast::<PyBytes>() {
        return Ok(octets.clone());
    }
    Ok(data.py().get_type::<PyBytes>().call1((data,))?.cast_into::<PyBytes>()?)
}

/// `sipmikey.mikey.message.parse_message`.
#[pyfunction]
pub fn parse_message<'py>(
    py: Python<'py>,
    data: &Object<'py>,
    limits: &Object<'py>,
) -> PyResult<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let raw = octets(data)?;
    let message = Message::read(raw.as_bytes(), &decoder.classes.limits(limits)?).or_raise(py)?;
    decoder.message(&raw, &message)
}

/// `sipmikey.mikey.kemac.decode_key_data`.
#[pyfunction]
pub fn decode_key_data<'py>(
    py: Python<'py>,
    plaintext: &Object<'py>,
    limits: &Object<'py>,
) -> PyResult<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let raw = octets(plaintext)?;
    let keys = read_key_data(raw.as_bytes(), &decoder.classes.limits(limits)?).or_raise(py)?;
    decoder.keys(&keys)
}

impl<'py> Decoder<'py> {
    /// Return a tuple of `KeyData`.
    pub fn keys(&self, keys: &[KeyData<'_>]) -> PyResult<Object<'py>> {
        self.tuple(keys.iter().map(|key| self.key_data(key)))
    }
}

/// `sipmikey.mikey.ticket.decode_ticket_data`.
#[pyfunction]
#[pyo3(signature = (data, limits, *, base=0))]
pub fn decode_ticket_data<'py>(
    py: Python<'py>,
    data: &Object<'py>,
    limits: &Object<'py>,
    base: usize,
) -> PyResult<(Object<'py>, Object<'py>, Object<'py>)> {
    let decoder = Decoder::new(py)?;
    let raw = octets(data)?;
    let (header, chain) =
        read_ticket_data(raw.as_bytes(), &decoder.classes.limits(limits)?, base).or_raise(py)?;
    let header = decoder.classes.thdr.make(py, [decoder.bytes(header)])?;
    let (payloads, offsets) = decoder.chain(&chain)?;
    Ok((header, payloads, offsets))
}

/// `sipmikey.mikey.ticket.decode_initiator_data`.
#[pyfunction]
#[pyo3(signature = (data, limits, *, base=0))]
pub fn decode_initiator_data<'py>(
    py: Python<'py>,
    data: &Object<'py>,
    limits: &Object<'py>,
    base: usize,
) -> PyResult<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let raw = octets(data)?;
    let chain = read_initiator_data(raw.as_bytes(), &decoder.classes.limits(limits)?, base).or_raise(py)?;
    Ok(decoder.chain(&chain)?.0)
}
