//! MACs and the encryption of key data: `sipmikey.keys.mac` and `sipmikey.keys.transport`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sipmikey_core::derivation::Protection;
use sipmikey_core::fault::{Fault, Kind};
use sipmikey_core::kemac::{Kemac, read_key_data};
use sipmikey_core::mac;
use sipmikey_core::payload::Timestamp;
use sipmikey_core::transport;

use crate::decode::{Decoder, octets};
use crate::encode::{Encoder, slot};
use crate::raise::{OrRaise, raise};
use crate::secret::{Prf, Secret};

type Object<'py> = Bound<'py, PyAny>;

/// The parts of a `ProtectionKeys`.
pub struct Keys<'py> {
    prf: Bound<'py, Prf>,
    tail: Bound<'py, PyBytes>,
}

impl<'py> Keys<'py> {
    /// Look into a `ProtectionKeys`.
    pub fn of(protection: &Object<'py>) -> PyResult<Self> {
        Ok(Self {
            prf: slot!(protection, "prf").cast_into()?,
            tail: slot!(protection, "label_tail").cast_into()?,
        })
    }

    /// The keys as the core takes them.
    pub fn core(&self) -> Protection<'_> {
        Protection { prf: self.prf.get().core(), tail: self.tail.as_bytes() }
    }
}

/// Read a `Timestamp` object.
pub fn timestamp(object: &Object<'_>) -> PyResult<Timestamp> {
    Ok(Timestamp { ts_type: slot!(object, "ts_type").extract()?, value: slot!(object, "value").extract()? })
}

/// `sipmikey.keys.mac.compute_mac`.
#[pyfunction]
pub fn compute_mac<'py>(
    py: Python<'py>,
    mac_alg: u8,
    auth_key: &Bound<'py, Secret>,
    covered: &Object<'py>,
) -> PyResult<Bound<'py, PyBytes>> {
    let covered = octets(covered)?;
    let (mac, length) =
        mac::compute_mac(mac_alg, auth_key.get().octets(), &[covered.as_bytes()]).or_raise(py)?;
    Ok(PyBytes::new(py, mac.get(..length).unwrap_or_default()))
}

/// `sipmikey.keys.mac.verify_mac`.
#[pyfunction]
pub fn verify_mac<'py>(
    py: Python<'py>,
    mac_alg: u8,
    auth_key: &Bound<'py, Secret>,
    covered: &Object<'py>,
    mac: &Object<'py>,
    what: String,
) -> PyResult<()> {
    let (covered, mac) = (octets(covered)?, octets(mac)?);
    let covered = [covered.as_bytes()];
    mac::verify_mac(mac_alg, auth_key.get().octets(), &covered, mac.as_bytes(), || what).or_raise(py)
}

/// `sipmikey.keys.transport.seal_keys`.
#[pyfunction]
#[pyo3(signature = (keys, encr_alg, protection, *, csb_id, timestamp))]
pub fn seal_keys<'py>(
    py: Python<'py>,
    keys: &Object<'py>,
    encr_alg: u8,
    protection: &Object<'py>,
    csb_id: u32,
    timestamp: &Object<'py>,
) -> PyResult<Object<'py>> {
    let plaintext = Encoder::new(py)?.key_data(keys)?;
    let protection = Keys::of(protection)?;
    let stamp = self::timestamp(timestamp)?.iv();
    let encr_data = transport::seal(encr_alg, &protection.core(), csb_id, stamp, &plaintext).or_raise(py)?;
    if encr_data.len() > usize::from(u16::MAX) {
        let detail = format!("Encr data has {} octets, at most {} fit", encr_data.len(), u16::MAX);
        return Err(raise(py, &Fault::new(Kind::Local, detail)));
    }
    Decoder::new(py)?.kemac(&Kemac { encr_alg, encr_data: &encr_data, mac_alg: 0, mac: &[] })
}

/// `sipmikey.keys.transport.open_keys`.
#[pyfunction]
#[pyo3(signature = (kemac, protection, *, csb_id, timestamp, limits, what))]
pub fn open_keys<'py>(
    py: Python<'py>,
    kemac: &Object<'py>,
    protection: &Object<'py>,
    csb_id: u32,
    timestamp: &Object<'py>,
    limits: &Object<'py>,
    what: &str,
) -> PyResult<Object<'py>> {
    let decoder = Decoder::new(py)?;
    let protection = Keys::of(protection)?;
    let encr_data = slot!(kemac, "encr_data").cast_into::<PyBytes>()?;
    let plaintext = transport::open(
        slot!(kemac, "encr_alg").extract()?,
        slot!(kemac, "mac_alg").extract()?,
        &protection.core(),
        csb_id,
        self::timestamp(timestamp)?.iv(),
        encr_data.as_bytes(),
        what,
    )
    .or_raise(py)?;
    let keys = read_key_data(&plaintext, &decoder.classes.limits(limits)?).or_raise(py)?;
    decoder.keys(&keys)
}
