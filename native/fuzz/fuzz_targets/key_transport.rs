//! What is sealed opens again; anything else opens to octets or a fault.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipmikey_core::derivation::Protection;
use sipmikey_core::prf::Prf;
use sipmikey_core::transport::{open, seal};

fuzz_target!(|input: (u8, u32, u64, Vec<u8>, Vec<u8>)| {
    let (algorithm, csb_id, timestamp, inkey, data) = input;
    let Ok(prf) = Prf::new(algorithm & 1, &inkey) else { return };
    let protection = Protection { prf: &prf, tail: b"label" };
    let algorithm = algorithm % 4;
    let _ = open(algorithm, 0, &protection, csb_id, timestamp, &data, "message");
    if let Ok(sealed) = seal(algorithm, &protection, csb_id, timestamp, &data) {
        let opened = open(algorithm, 0, &protection, csb_id, timestamp, &sealed, "message");
        assert!(opened.is_ok_and(|opened| *opened == data));
    }
});
