//! SRTP contexts: `sipmikey.media.context`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use sipmikey_core::srtp::{Context, Profile, Refusal};

use crate::encode::slot;
use crate::raise::OrRaise;
use crate::secret::Secret;

type Object<'py> = Bound<'py, PyAny>;

/// Longest packet taken, in bytes, and what is kept of it for MKI and tag: the bounds of the Python endpoint.
const LONGEST: usize = 1500;
const TRAILER: usize = 144;

/// Return the name of the kind in the class `SrtpError`, and what libsrtp says of it.
fn words(refusal: Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::Authentication => ("AUTHENTICATION", "authentication failure"),
        Refusal::Replayed => ("REPLAYED", "replay check failed (bad index)"),
        Refusal::TooOld => ("TOO_OLD", "replay check failed (index too old)"),
        Refusal::TooShort => ("TOO_SHORT", "too short"),
        Refusal::OtherSsrc => ("OTHER_SSRC", "no appropriate context found"),
        Refusal::Malformed => ("MALFORMED", "error parsing data"),
        Refusal::MkiUnknown => ("MKI_UNKNOWN", "error MKI present in packet is invalid"),
        Refusal::KeyExpired => ("KEY_EXPIRED", "can't use key any more"),
    }
}

fn error(py: Python<'_>, class: &str, kind: &str, detail: String) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let errors = py.import("sipmikey.media.errors")?;
        let kind = errors.getattr("SrtpError")?.getattr(kind)?;
        Ok(PyErr::from_value(errors.getattr(class)?.call1((kind, detail))?))
    };
    made().unwrap_or_else(|failure| failure)
}

/// Take a lock; what a thread that panicked left is still whole.
pub fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One key in one direction.
///
/// ``after`` is the packet index (ROC * 65536 + SEQ) that counts as already used; None for a fresh stream.
/// Raises `LocalError` for a profile or an index that the Python endpoint does not do either.
#[pyclass(frozen, module = "sipmikey.media.context")]
pub struct SrtpContext {
    /// The `StreamKey`.
    #[pyo3(get)]
    key: Py<PyAny>,
    mki: Vec<u8>,
    profile: Profile,
    context: Arc<Mutex<Context>>,
}

impl SrtpContext {
    fn context(&self) -> MutexGuard<'_, Context> {
        held(&self.context)
    }

    /// The context, to be shared with a lane.
    pub fn shared(&self) -> Arc<Mutex<Context>> {
        Arc::clone(&self.context)
    }

    /// Say how long a packet must be.
    fn check_length(&self, py: Python<'_>, packet: &[u8], rtcp: bool) -> PyResult<()> {
        let (shortest, holds) = if rtcp {
            (8 + 4 + self.profile.rtcp_tag_length, "header, index, MKI and tag")
        } else {
            (12 + self.profile.tag_length, "header, MKI and tag")
        };
        if packet.len() < shortest + self.mki.len() {
            let detail = format!("{} bytes do not hold {holds}", packet.len());
            return Err(error(py, "PacketRefused", "TOO_SHORT", detail));
        }
        Ok(())
    }

    fn check_mki(&self, py: Python<'_>, packet: &[u8], tag: usize) -> PyResult<()> {
        let end = packet.len().saturating_sub(if self.profile.aead { 0 } else { tag });
        let found = packet.get(end.saturating_sub(self.mki.len())..end).unwrap_or_default();
        if found == self.mki {
            return Ok(());
        }
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let detail = format!("MKI {}, expected {}", hex(found), hex(&self.mki));
        Err(error(py, "PacketRefused", "MKI_UNKNOWN", detail))
    }

    fn check_fits(py: Python<'_>, class: &str, length: usize, longest: usize) -> PyResult<()> {
        if length > longest {
            let detail = "SRTP library: packet is too long".to_string();
            return Err(error(py, class, "TOO_LONG", detail));
        }
        Ok(())
    }
}

fn finished<'py>(
    py: Python<'py>,
    class: &str,
    outcome: Result<Vec<u8>, Refusal>,
) -> PyResult<Bound<'py, PyBytes>> {
    match outcome {
        Ok(packet) => Ok(PyBytes::new(py, &packet)),
        Err(refusal) => {
            let (kind, detail) = words(refusal);
            Err(error(py, class, kind, format!("SRTP library: {detail}")))
        }
    }
}

#[pymethods]
impl SrtpContext {
    #[new]
    #[pyo3(signature = (key, *, outbound, after=None))]
    fn new<'py>(py: Python<'py>, key: &Object<'py>, outbound: bool, after: Option<u64>) -> PyResult<Self> {
        let _ = outbound;
        let started = match after {
            None => key.clone(),
            Some(after) => {
                let changes = PyDict::new(py);
                changes.set_item("roc", after >> 16)?;
                py.import("dataclasses")?.getattr("replace")?.call((key,), Some(&changes))?
            }
        };
        py.import("sipmikey.media.context")?.getattr("check_runnable")?.call1((started,))?;
        let (described, master, salt) = (slot!(key, "profile"), slot!(key, "key"), slot!(key, "salt"));
        let profile = Profile {
            aead: slot!(described, "aead").extract()?,
            key_length: slot!(described, "key_length").extract()?,
            tag_length: slot!(described, "tag_length").extract()?,
            rtcp_tag_length: slot!(described, "rtcp_tag_length").extract()?,
        };
        let (master, salt) = (master.cast::<Secret>()?.get(), salt.cast::<Secret>()?.get());
        let mki = slot!(key, "mki").cast::<PyBytes>()?.as_bytes().to_vec();
        let ssrc = slot!(key, "ssrc").extract()?;
        let context =
            Context::new(profile, master.octets(), salt.octets(), ssrc, &mki, after).or_raise(py)?;
        Ok(Self { key: key.clone().unbind(), mki, profile, context: Arc::new(Mutex::new(context)) })
    }

    /// Highest index of a packet protected or authenticated (ROC * 65536 + SEQ); None before the first.
    #[getter]
    fn index(&self) -> Option<u64> {
        self.context().index()
    }

    /// Count *packets* SRTCP packets as sent: the index is never reset (RFC 3711 section 3.4).
    fn advance_rtcp(&self, packets: u32) {
        self.context().advance_rtcp(packets);
    }

    /// Return the SRTP packet of an RTP packet; raise `PacketNotSent`.
    fn protect<'py>(&self, py: Python<'py>, packet: &Object<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let packet = bytes(packet)?;
        if packet.len() < 12 {
            let detail = format!("{} bytes do not hold an RTP header", packet.len());
            return Err(error(py, "PacketNotSent", "TOO_SHORT", detail));
        }
        Self::check_fits(py, "PacketNotSent", packet.len(), LONGEST - TRAILER)?;
        finished(py, "PacketNotSent", self.context().protect(packet))
    }

    /// Return the SRTCP packet of an RTCP packet; raise `PacketNotSent`.
    fn protect_rtcp<'py>(&self, py: Python<'py>, packet: &Object<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let packet = bytes(packet)?;
        if packet.len() < 8 {
            let detail = format!("{} bytes do not hold an RTCP header", packet.len());
            return Err(error(py, "PacketNotSent", "TOO_SHORT", detail));
        }
        Self::check_fits(py, "PacketNotSent", packet.len(), LONGEST - TRAILER)?;
        finished(py, "PacketNotSent", self.context().protect_rtcp(packet))
    }

    /// Return the RTP packet of an SRTP packet; raise `PacketRefused`.
    fn unprotect<'py>(&self, py: Python<'py>, packet: &Object<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let packet = bytes(packet)?;
        self.check_length(py, packet, false)?;
        self.check_mki(py, packet, self.profile.tag_length)?;
        Self::check_fits(py, "PacketRefused", packet.len() - self.mki.len(), LONGEST)?;
        finished(py, "PacketRefused", self.context().unprotect(packet))
    }

    /// Return the RTCP packet of an SRTCP packet; raise `PacketRefused`.
    fn unprotect_rtcp<'py>(&self, py: Python<'py>, packet: &Object<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let packet = bytes(packet)?;
        self.check_length(py, packet, true)?;
        self.check_mki(py, packet, self.profile.rtcp_tag_length)?;
        Self::check_fits(py, "PacketRefused", packet.len() - self.mki.len(), LONGEST)?;
        finished(py, "PacketRefused", self.context().unprotect_rtcp(packet))
    }
}

fn bytes<'a>(packet: &'a Object<'_>) -> PyResult<&'a [u8]> {
    match packet.cast::<PyBytes>() {
        Ok(packet) => Ok(packet.as_bytes()),
        Err(_) => Err(PyTypeError::new_err("packet must be bytes")),
    }
}
