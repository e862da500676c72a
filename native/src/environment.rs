//! Clock and randomness of an `Environment`, as the exchanges ask for them.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sipmikey_core::payload::Timestamp;

use crate::encode::slot;

const NS: i64 = 1_000_000_000;
const NTP_EPOCH_S: i64 = 2_208_988_800;
const ERA_S: i64 = 1 << 32;
const COUNTER: u8 = 2;
const NTP_UTC_32: u8 = 3;

/// An object of the class `Environment`.
pub struct Environment<'a, 'py>(pub &'a Bound<'py, PyAny>);

impl<'py> Environment<'_, 'py> {
    /// Return nanoseconds since 1970.
    pub fn now_ns(&self) -> PyResult<i64> {
        slot!(self.0, "now_ns").call0()?.extract()
    }

    /// Return that many octets.
    pub fn random(&self, count: usize) -> PyResult<Bound<'py, PyBytes>> {
        Ok(slot!(self.0, "random").call1((count,))?.cast_into()?)
    }

    /// Return the limits.
    pub fn limits(&self) -> PyResult<Bound<'py, PyAny>> {
        Ok(slot!(self.0, "limits"))
    }

    /// Return a fresh timestamp for a T payload.
    pub fn timestamp(&self) -> PyResult<Timestamp> {
        let counter = slot!(self.0, "counter");
        if !counter.is_none() {
            let value: u32 = counter.call0()?.extract()?;
            return Ok(Timestamp { ts_type: COUNTER, value: value.into() });
        }
        let now = self.now_ns()?;
        let (seconds, nanoseconds) = (now.div_euclid(NS), now.rem_euclid(NS));
        let fraction = (nanoseconds << 32) / NS;
        let seconds = seconds.checked_add(NTP_EPOCH_S).map(|seconds| seconds.rem_euclid(ERA_S));
        let Some(seconds) = seconds else { return Err(PyOverflowError::new_err("no such time")) };
        Ok(Timestamp { ts_type: 0, value: ((seconds as u64) << 32) | fraction as u64 })
    }

    /// Tell whether a timestamp is within the tolerated skew, or tells no time.
    pub fn accepts(&self, timestamp: &Timestamp) -> PyResult<bool> {
        let Some(time) = unix_ns(timestamp) else { return Ok(true) };
        let skew: i64 = slot!(self.0, "clock_skew_s").extract()?;
        Ok(time.abs_diff(self.now_ns()?) <= skew.saturating_mul(NS).max(0) as u64)
    }
}

/// Return nanoseconds since 1970, for years 1968 to 2104; none for a COUNTER.
pub fn unix_ns(timestamp: &Timestamp) -> Option<i64> {
    let (seconds, fraction) = match timestamp.ts_type {
        COUNTER => return None,
        NTP_UTC_32 => (timestamp.value, 0),
        _ => (timestamp.value >> 32, timestamp.value & 0xFFFF_FFFF),
    };
    let era = if seconds >= 1 << 31 { 0 } else { ERA_S };
    let nanoseconds = (fraction * NS as u64 + (1 << 31)) >> 32;
    Some((seconds as i64 + era - NTP_EPOCH_S) * NS + nanoseconds as i64)
}
