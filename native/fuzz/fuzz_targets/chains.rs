//! Any octets are Ticket Data, Initiator Data and key data, or faults.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipmikey_core::kemac::read_key_data;
use sipmikey_core::limits::Limits;
use sipmikey_core::policy::{read_initiator_data, read_ticket_data};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let _ = read_ticket_data(data, &limits, 0);
    let _ = read_initiator_data(data, &limits, 0);
    let _ = read_key_data(data, &limits);
});
