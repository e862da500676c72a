//! The classes of the package whose objects the native core makes and reads, looked up once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyInt;
use sipmikey_core::limits::Limits;

use crate::slots::Maker;

/// Members of an enumeration by value.
pub struct Members {
    table: Vec<Option<Py<PyAny>>>,
}

impl Members {
    fn of(registry: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        let mut table = Vec::new();
        for member in registry.getattr(name)?.try_iter()? {
            let member = member?;
            let value: usize = member.getattr("value")?.extract()?;
            if table.len() <= value {
                table.resize_with(value.saturating_add(1), || None);
            }
            if let Some(place) = table.get_mut(value) {
                *place = Some(member.unbind());
            }
        }
        Ok(Self { table })
    }

    /// Return the member where the value is registered, else the value as an int.
    #[inline]
    pub fn named<'py>(&self, py: Python<'py>, value: u16) -> Bound<'py, PyAny> {
        match self.table.get(usize::from(value)) {
            Some(Some(member)) => member.bind(py).clone(),
            _ => PyInt::new(py, value).into_any(),
        }
    }
}

/// Objects made once for each small number.
pub struct Interned {
    table: Vec<PyOnceLock<Py<PyAny>>>,
}

impl Interned {
    fn of(count: usize) -> Self {
        let mut table = Vec::new();
        table.resize_with(count, PyOnceLock::new);
        Self { table }
    }

    /// Return the object of a number, made by `make` the first time.
    #[inline]
    pub fn get<'py>(
        &self,
        py: Python<'py>,
        number: usize,
        make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.table.get(number) {
            Some(place) => Ok(place.get_or_try_init(py, || make().map(Bound::unbind))?.bind(py).clone()),
            None => make(),
        }
    }
}

/// What is made of the package, and of its enumerations.
#[allow(missing_docs)]
pub struct Classes {
    pub header: Maker<7>,
    pub srtp_id: Maker<3>,
    pub generic_id: Maker<6>,
    pub message: Maker<4>,
    pub kemac: Maker<4>,
    pub interval: Maker<2>,
    pub key_data: Maker<5>,
    pub pke: Maker<2>,
    pub dh: Maker<5>,
    pub sign: Maker<2>,
    pub t: Maker<1>,
    pub tr: Maker<2>,
    pub timestamp: Maker<2>,
    pub id: Maker<2>,
    pub idr: Maker<3>,
    pub cert: Maker<2>,
    pub chash: Maker<2>,
    pub v: Maker<2>,
    pub sp: Maker<3>,
    pub param: Maker<2>,
    pub rand: Maker<1>,
    pub randr: Maker<2>,
    pub err: Maker<2>,
    pub ext: Maker<2>,
    pub tp: Maker<8>,
    pub ticket: Maker<10>,
    pub flags: Maker<1>,
    pub thdr: Maker<1>,
    pub data_type: Members,
    pub prf_func: Members,
    pub map_type: Members,
    pub prot_type: Members,
    pub encr_alg: Members,
    pub mac_alg: Members,
    pub key_type: Members,
    pub ts_type: Members,
    pub ts_role: Members,
    pub id_type: Members,
    pub id_role: Members,
    pub cert_type: Members,
    pub hash_func: Members,
    pub signature_type: Members,
    pub pke_cache: Members,
    pub dh_group: Members,
    pub rand_role: Members,
    pub error_no: Members,
    pub ext_type: Members,
    pub ticket_type: Members,
    pub srtp_param: Members,
    pub ticket_flag: Py<PyAny>,
    pub default_limits: Py<PyAny>,
    pub flag_sets: Interned,
    pub small_params: Interned,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

/// Parameters of SRTP policies with one octet of value that are made once: types below this number.
pub const SMALL_PARAMS: usize = 32;

impl Classes {
    /// Return the classes, looked up when they are first needed: the package imports this module first.
    #[inline]
    pub fn get(py: Python<'_>) -> PyResult<&Self> {
        CLASSES.get_or_try_init(py, || Self::load(py))
    }

    fn load(py: Python<'_>) -> PyResult<Self> {
        let class = |module: &str, name: &str| py.import(format!("sipmikey.mikey.{module}"))?.getattr(name);
        let registry = py.import("sipmikey.mikey.registry")?.into_any();
        let members = |name: &str| Members::of(&registry, name);
        let policy =
            ["ticket_type", "subtype", "version", "prf", "flags", "res", "payloads", "policy_octets"];
        let [p0, p1, p2, p3, p4, p5, p6, p7] = policy;
        Ok(Self {
            header: Maker::new(
                &class("header", "Header")?,
                ["data_type", "v", "prf", "csb_id", "map_type", "crypto_sessions", "empty_map_sessions"],
            )?,
            srtp_id: Maker::new(&class("header", "SrtpIdEntry")?, ["policy_no", "ssrc", "roc"])?,
            generic_id: Maker::new(
                &class("header", "GenericIdEntry")?,
                ["cs_id", "prot_type", "s", "policies", "session_data", "spi"],
            )?,
            message: Maker::new(&class("message", "Message")?, ["header", "payloads", "raw", "offsets"])?,
            kemac: Maker::new(&class("kemac", "KEMAC")?, ["encr_alg", "encr_data", "mac_alg", "mac"])?,
            interval: Maker::new(&class("kemac", "Interval")?, ["valid_from", "valid_to"])?,
            key_data: Maker::new(
                &class("kemac", "KeyData")?,
                ["key_type", "key", "salt", "spi", "interval"],
            )?,
            pke: Maker::new(&class("certificate", "PKE")?, ["cache", "data"])?,
            dh: Maker::new(&class("dh", "DH")?, ["group", "value", "reserved", "spi", "interval"])?,
            sign: Maker::new(&class("certificate", "SIGN")?, ["signature_type", "signature"])?,
            t: Maker::new(&class("timestamp", "T")?, ["timestamp"])?,
            tr: Maker::new(&class("timestamp", "TR")?, ["role", "timestamp"])?,
            timestamp: Maker::new(&class("timestamp", "Timestamp")?, ["ts_type", "value"])?,
            id: Maker::new(&class("identity", "ID")?, ["id_type", "data"])?,
            idr: Maker::new(&class("identity", "IDR")?, ["role", "id_type", "data"])?,
            cert: Maker::new(&class("certificate", "CERT")?, ["cert_type", "data"])?,
            chash: Maker::new(&class("certificate", "CHASH")?, ["hash_func", "hash"])?,
            v: Maker::new(&class("verification", "V")?, ["auth_alg", "mac"])?,
            sp: Maker::new(&class("security_policy", "SP")?, ["policy_no", "prot_type", "params"])?,
            param: Maker::new(&class("security_policy", "PolicyParam")?, ["param_type", "value"])?,
            rand: Maker::new(&class("rand", "RAND")?, ["rand"])?,
            randr: Maker::new(&class("rand", "RANDR")?, ["role", "rand"])?,
            err: Maker::new(&class("verification", "ERR")?, ["error_no", "reserved"])?,
            ext: Maker::new(&class("verification", "EXT")?, ["ext_type", "data"])?,
            tp: Maker::new(&class("ticket", "TP")?, policy)?,
            ticket: Maker::new(
                &class("ticket", "TICKET")?,
                [p0, p1, p2, p3, p4, p5, p6, p7, "ticket_data", "initiator_data"],
            )?,
            flags: Maker::new(&class("ticket", "TicketFlags")?, ["bits"])?,
            thdr: Maker::new(&class("ticket", "THDR")?, ["data"])?,
            data_type: members("DataType")?,
            prf_func: members("PrfFunc")?,
            map_type: members("CsIdMapType")?,
            prot_type: members("ProtType")?,
            encr_alg: members("EncrAlg")?,
            mac_alg: members("MacAlg")?,
            key_type: members("KeyDataType")?,
            ts_type: members("TsType")?,
            ts_role: members("TsRole")?,
            id_type: members("IdType")?,
            id_role: members("IdRole")?,
            cert_type: members("CertType")?,
            hash_func: members("HashFunc")?,
            signature_type: members("SignatureType")?,
            pke_cache: members("PkeCache")?,
            dh_group: members("DhGroup")?,
            rand_role: members("RandRole")?,
            error_no: members("ErrorNo")?,
            ext_type: members("ExtensionType")?,
            ticket_type: members("TicketType")?,
            srtp_param: members("SrtpParam")?,
            ticket_flag: class("ticket", "TicketFlag")?.unbind(),
            default_limits: class("limits", "DEFAULT_LIMITS")?.unbind(),
            flag_sets: Interned::of(1 << 12),
            small_params: Interned::of(SMALL_PARAMS << 8),
        })
    }

    /// Tell whether an object is one of the codec's payloads.
    pub fn knows(&self, object: &Bound<'_, PyAny>) -> bool {
        self.t.made(object)
            || self.randr.made(object)
            || self.rand.made(object)
            || self.v.made(object)
            || self.sp.made(object)
            || self.ticket.made(object)
            || self.tp.made(object)
            || self.idr.made(object)
            || self.tr.made(object)
            || self.kemac.made(object)
            || self.ext.made(object)
            || self.cert.made(object)
            || self.chash.made(object)
            || self.pke.made(object)
            || self.sign.made(object)
            || self.id.made(object)
            || self.err.made(object)
            || self.dh.made(object)
            || self.key_data.made(object)
    }

    /// Read an object of the class `Limits`.
    pub fn limits(&self, limits: &Bound<'_, PyAny>) -> PyResult<Limits> {
        if limits.is(self.default_limits.bind(limits.py())) {
            return Ok(Limits::default());
        }
        let bound = |name: &str| -> PyResult<i64> {
            // A bound no message can reach is as good as none.
            Ok(limits.getattr(name)?.extract().unwrap_or(i64::MAX))
        };
        Ok(Limits {
            message_bytes: bound("message_bytes")?,
            payloads: bound("payloads")?,
            crypto_sessions: bound("crypto_sessions")?,
            certificates: bound("certificates")?,
            policy_parameters: bound("policy_parameters")?,
            nesting: bound("nesting")?,
        })
    }
}
