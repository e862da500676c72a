//! Any octets are a message or a fault that lies in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipmikey_core::limits::Limits;
use sipmikey_core::message::Message;

fuzz_target!(|data: &[u8]| {
    match Message::read(data, &Limits::default()) {
        Ok(message) => {
            let mut last = 0;
            for (offset, _) in &message.payloads {
                assert!(*offset > last && *offset < data.len());
                last = *offset;
            }
        }
        Err(fault) => assert!(fault.offset.is_none_or(|offset| offset <= data.len())),
    }
});
