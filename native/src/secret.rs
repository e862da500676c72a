//! `Secret` and `Prf` in native memory, which is erased: the same face as `sipmikey.mikey.secret` and
//! `sipmikey.keys.prf`.

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sipmikey_core::digest::sha256;
use sipmikey_core::mac::same;
use sipmikey_core::prf::{Octets, Prf as CorePrf};

use crate::decode::octets;
use crate::raise::OrRaise;

/// A holder for key material that does not show it.
///
/// Equality takes constant time for equal lengths. ``reveal()`` gives the octets to whoever computes with
/// them; ``fingerprint()`` gives 8 hexadecimal digits that may be shown. The octets are erased when the object
/// goes.
#[pyclass(frozen, module = "sipmikey.mikey.secret")]
pub struct Secret {
    octets: Octets,
}

impl Secret {
    /// Return a `Secret` of octets.
    #[inline]
    pub fn of<'py>(py: Python<'py>, octets: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(py, Self { octets: Octets::new(octets.to_vec()) })?.into_any())
    }

    /// Return a `Secret` that takes the octets over.
    #[inline]
    pub fn take(py: Python<'_>, octets: Octets) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, Self { octets })?.into_any())
    }

    /// The octets.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

#[pymethods]
impl Secret {
    #[new]
    fn new(octets: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { octets: Octets::new(crate::decode::octets(octets)?.as_bytes().to_vec()) })
    }

    /// Return the octets.
    fn reveal<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.octets)
    }

    /// Return the first four octets of a labelled SHA-256 digest, in hexadecimal.
    fn fingerprint(&self) -> String {
        let digest = sha256(&[b"sipmikey key fingerprint\0", &self.octets]);
        digest.iter().take(4).map(|octet| format!("{octet:02x}")).collect()
    }

    fn __len__(&self) -> usize {
        self.octets.len()
    }

    fn __bool__(&self) -> bool {
        !self.octets.is_empty()
    }

    fn __eq__<'py>(&self, py: Python<'py>, other: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
        match other.cast::<Self>() {
            Ok(other) => {
                let equal = same(&self.octets, &other.get().octets);
                pyo3::types::PyBool::new(py, equal).to_owned().into_any()
            }
            Err(_) => py.NotImplemented().into_bound(py),
        }
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        (py.get_type::<Self>(), PyBytes::new(py, &self.octets)).into_pyobject(py)?.hash()
    }

    fn __repr__(&self) -> String {
        format!("<Secret {} bytes>", self.octets.len())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("a Secret is not pickled"))
    }
}

/// A PRF with its inkey set; one object derives any number of keys.
#[pyclass(frozen, module = "sipmikey.keys.prf")]
pub struct Prf {
    /// The `PrfFunc`.
    #[pyo3(get)]
    func: Py<PyAny>,
    prf: CorePrf,
}

impl Prf {
    /// Return a `Prf`.
    pub fn of<'py>(func: &Bound<'py, PyAny>, inkey: &[u8]) -> PyResult<Bound<'py, Self>> {
        let py = func.py();
        Bound::new(py, Self::keyed(func, inkey)?)
    }

    fn keyed(func: &Bound<'_, PyAny>, inkey: &[u8]) -> PyResult<Self> {
        let number = match func.extract::<u8>() {
            Ok(number @ (0 | 1)) => number,
            _ if inkey.is_empty() => 0,
            _ => return Err(PyKeyError::new_err(func.clone().unbind())),
        };
        let prf = CorePrf::new(number, inkey).or_raise(func.py())?;
        Ok(Self { func: func.clone().unbind(), prf })
    }

    /// The PRF.
    #[inline]
    pub fn core(&self) -> &CorePrf {
        &self.prf
    }
}

#[pymethods]
impl Prf {
    #[new]
    fn new(func: &Bound<'_, PyAny>, inkey: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::keyed(func, inkey.cast::<Secret>()?.get().octets())
    }

    /// Return the *outkey_bits* most significant bits of PRF(inkey, label).
    ///
    /// Where the count is no multiple of 8 the last octet is filled with zero bits.
    fn derive<'py>(
        &self,
        py: Python<'py>,
        label: &Bound<'py, PyAny>,
        outkey_bits: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let label = octets(label)?;
        let bits = usize::try_from(outkey_bits).unwrap_or(0);
        Secret::take(py, self.prf.derive(&[label.as_bytes()], bits).or_raise(py)?)
    }
}
