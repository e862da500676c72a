//! The packets of many streams without the interpreter: `sipmikey.media.lanes` decides which.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendto};
use nix::sys::time::TimeSpec;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sipmikey_core::rtp::{Counter, Packetiser as CorePacketiser};
use sipmikey_core::srtp::Context;

use crate::media::{SrtpContext, held};
use crate::slots::descriptor;

const DATAGRAM: usize = 2048;
const EVENTS: usize = 1024;
const NS: i64 = 1_000_000_000;
const PLAIN_HEADER: u8 = 0x80;
const HEADER_LENGTH: usize = 12;

/// Numbers the packets of one outgoing stream of fixed-length frames.
#[pyclass(frozen, module = "sipmikey.media.rtp")]
pub struct Packetiser {
    state: Arc<Mutex<CorePacketiser>>,
}

#[pymethods]
impl Packetiser {
    #[new]
    #[pyo3(signature = (*, ssrc, payload_type, samples, sequence, timestamp))]
    fn new(ssrc: u32, payload_type: u8, samples: u32, sequence: u16, timestamp: u32) -> Self {
        let state = CorePacketiser {
            ssrc,
            payload_type,
            samples,
            sequence,
            timestamp,
            marker: true,
            packets: 0,
            octets: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Return the next RTP packet.
    fn next_packet<'py>(&self, py: Python<'py>, payload: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &held(&self.state).next(payload))
    }

    /// Let one frame's time pass without a packet; the next one opens a talk spurt.
    fn skip(&self) {
        held(&self.state).skip();
    }

    #[getter]
    fn ssrc(&self) -> u32 {
        held(&self.state).ssrc
    }

    #[getter]
    fn sequence(&self) -> u16 {
        held(&self.state).sequence
    }

    #[getter]
    fn timestamp(&self) -> u32 {
        held(&self.state).timestamp
    }

    #[getter]
    fn packets(&self) -> u64 {
        held(&self.state).packets
    }

    #[getter]
    fn octets(&self) -> u64 {
        held(&self.state).octets
    }
}

/// Counts packets as they come: what `ReceptionCounter` reports of.
#[pyclass(frozen, module = "sipmikey.media.statistics")]
pub struct ReceptionCount {
    state: Arc<Mutex<Counter>>,
}

#[pymethods]
impl ReceptionCount {
    #[new]
    fn new(clock_rate: f64) -> Self {
        Self { state: Arc::new(Mutex::new(Counter::new(clock_rate))) }
    }

    /// Count one packet that arrived at *arrival_ns* (Unix time); return its extended sequence number.
    fn count(&self, sequence: u16, timestamp: u32, payload_octets: usize, arrival_ns: i64) -> i64 {
        held(&self.state).count(sequence, timestamp, payload_octets, arrival_ns)
    }

    #[getter]
    fn base(&self) -> i64 {
        held(&self.state).base
    }

    #[getter]
    fn highest(&self) -> i64 {
        held(&self.state).highest
    }

    #[getter]
    fn jitter(&self) -> f64 {
        held(&self.state).jitter
    }

    #[getter]
    fn received(&self) -> i64 {
        held(&self.state).received
    }

    #[getter]
    fn octets(&self) -> i64 {
        held(&self.state).octets
    }

    #[getter]
    fn reordered(&self) -> i64 {
        held(&self.state).reordered
    }
}

struct Frames {
    frames: Vec<Vec<u8>>,
    position: usize,
    repeated: bool,
}

impl Frames {
    fn next(&mut self) -> Option<&[u8]> {
        if self.repeated && self.position >= self.frames.len() {
            self.position = 0;
        }
        let frame = self.frames.get(self.position)?;
        self.position = self.position.saturating_add(1);
        Some(frame)
    }
}

/// Gives encoded frames one by one. ``None`` from `next_frame` means that the source has ended; with *loop* it
/// never ends.
#[pyclass(frozen, module = "sipmikey.media.wav")]
pub struct FrameSource {
    state: Arc<Mutex<Frames>>,
}

#[pymethods]
impl FrameSource {
    #[new]
    #[pyo3(signature = (frames, *, r#loop=false))]
    fn new(frames: Vec<Vec<u8>>, r#loop: bool) -> Self {
        Self { state: Arc::new(Mutex::new(Frames { frames, position: 0, repeated: r#loop })) }
    }

    /// Return the next frame, None after the last.
    fn next_frame<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        held(&self.state).next().map(|frame| PyBytes::new(py, frame))
    }
}

struct Sending {
    context: Arc<Mutex<Context>>,
    packetiser: Arc<Mutex<CorePacketiser>>,
    frames: Arc<Mutex<Frames>>,
    remote: SockaddrStorage,
}

struct Receiving {
    context: Arc<Mutex<Context>>,
    counter: Arc<Mutex<Counter>>,
    payload_type: u8,
    judged: Option<u8>,
    kept: bool,
}

struct Lane {
    socket: OwnedFd,
    slot: usize,
    sending: Option<Sending>,
    receiving: Option<Receiving>,
}

/// What is for Python: the number of the lane, the packet or the payload, its arrival or its timestamp.
type ForPython = (usize, Vec<u8>, i64);

struct Loop {
    epoll: Epoll,
    lanes: Vec<Option<Lane>>,
    heard: Vec<ForPython>,
}

/// Sockets read and sent to without the interpreter.
///
/// A lane is a socket. It is armed to send, to receive, both or neither; what it is not armed for, and what does
/// not verify, is given to Python.
#[pyclass(frozen, module = "sipmikey.media.lanes")]
pub struct Lanes {
    state: Mutex<Loop>,
}

fn os_error(errno: Errno) -> PyErr {
    PyOSError::new_err((errno as i32, errno.desc()))
}

#[pymethods]
impl Lanes {
    #[new]
    fn new() -> PyResult<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(os_error)?;
        Ok(Self { state: Mutex::new(Loop { epoll, lanes: Vec::new(), heard: Vec::new() }) })
    }

    /// Add the socket of a descriptor, to be served in a slot; return the number of its lane.
    fn add(&self, descriptor: i32, slot: usize) -> PyResult<usize> {
        let socket = self::descriptor(descriptor)?;
        let mut state = held(&self.state);
        let number = state.lanes.iter().position(Option::is_none).unwrap_or(state.lanes.len());
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        state.epoll.add(&socket, event).map_err(os_error)?;
        let lane = Some(Lane { socket, slot, sending: None, receiving: None });
        match state.lanes.get_mut(number) {
            Some(place) => *place = lane,
            None => state.lanes.push(lane),
        }
        Ok(number)
    }

    /// Take a lane away.
    fn remove(&self, lane: usize) -> PyResult<()> {
        let mut state = held(&self.state);
        if let Some(gone) = state.lanes.get_mut(lane).and_then(Option::take) {
            state.epoll.delete(&gone.socket).map_err(os_error)?;
        }
        Ok(())
    }

    /// Arm a lane to send *frames* to an address; `LocalError` is for Python to raise before.
    fn send_on(
        &self,
        lane: usize,
        context: &Bound<'_, SrtpContext>,
        packetiser: &Bound<'_, Packetiser>,
        frames: &Bound<'_, FrameSource>,
        remote: (String, u16),
    ) -> PyResult<()> {
        let address: IpAddr = remote.0.parse().map_err(|_| PyValueError::new_err("not an IP address"))?;
        let sending = Sending {
            context: context.get().shared(),
            packetiser: Arc::clone(&packetiser.get().state),
            frames: Arc::clone(&frames.get().state),
            remote: SockaddrStorage::from(SocketAddr::new(address, remote.1)),
        };
        if let Some(Some(lane)) = held(&self.state).lanes.get_mut(lane) {
            lane.sending = Some(sending);
        }
        Ok(())
    }

    /// Arm a lane to receive; payloads of *payload_type* are kept for `heard` where *kept*, and packets of the
    /// type *judged* are given to Python as they came.
    fn receive_on(
        &self,
        lane: usize,
        context: &Bound<'_, SrtpContext>,
        counter: &Bound<'_, ReceptionCount>,
        payload_type: u8,
        kept: bool,
        judged: Option<u8>,
    ) {
        let receiving = Receiving {
            context: context.get().shared(),
            counter: Arc::clone(&counter.get().state),
            payload_type,
            judged,
            kept,
        };
        if let Some(Some(lane)) = held(&self.state).lanes.get_mut(lane) {
            lane.receiving = Some(receiving);
        }
    }

    /// Disarm a lane: nothing is sent, and all that comes is given to Python.
    fn disarm(&self, lane: usize) {
        if let Some(Some(lane)) = held(&self.state).lanes.get_mut(lane) {
            lane.sending = None;
            lane.receiving = None;
        }
    }

    /// Send one frame on every lane of a slot that is armed; return (lane, errno) of each that failed.
    ///
    /// The errno is 0 where SRTP refused to protect.
    fn send(&self, py: Python<'_>, slot: usize) -> Vec<(usize, i32)> {
        py.detach(|| {
            let state = held(&self.state);
            let lanes = state.lanes.iter().enumerate();
            lanes
                .filter_map(|(number, lane)| {
                    let lane = lane.as_ref().filter(|lane| lane.slot == slot)?;
                    let failed = sent(lane, lane.sending.as_ref()?).err()?;
                    Some((number, failed))
                })
                .collect()
        })
    }

    /// Read until there is something for Python, or that many nanoseconds have passed.
    ///
    /// Returns (lane, packet, arrival in Unix nanoseconds) of each packet for Python, in order.
    fn read<'py>(&self, py: Python<'py>, wait_ns: i64) -> PyResult<Vec<(usize, Bound<'py, PyBytes>, i64)>> {
        let found = py.detach(|| held(&self.state).read(wait_ns)).map_err(os_error)?;
        Ok(for_python(py, found))
    }

    /// Return (lane, payload, RTP timestamp) of what was received since the last time on lanes that keep it.
    fn heard<'py>(&self, py: Python<'py>) -> Vec<(usize, Bound<'py, PyBytes>, i64)> {
        let found = std::mem::take(&mut held(&self.state).heard);
        for_python(py, found)
    }
}

fn for_python(py: Python<'_>, found: Vec<ForPython>) -> Vec<(usize, Bound<'_, PyBytes>, i64)> {
    found.into_iter().map(|(lane, octets, number)| (lane, PyBytes::new(py, &octets), number)).collect()
}

/// Send the next frame; the error is an errno, or 0 for a packet that SRTP does not protect.
fn sent(lane: &Lane, sending: &Sending) -> Result<(), i32> {
    let mut packetiser = held(&sending.packetiser);
    let mut frames = held(&sending.frames);
    let Some(frame) = frames.next() else {
        packetiser.skip();
        return Ok(());
    };
    let packet = packetiser.next(frame);
    let protected = held(&sending.context).protect(&packet).map_err(|_| 0)?;
    let descriptor = lane.socket.as_raw_fd();
    sendto(descriptor, &protected, &sending.remote, MsgFlags::empty()).map_err(|errno| errno as i32)?;
    Ok(())
}

impl Loop {
    fn read(&mut self, wait_ns: i64) -> Result<Vec<ForPython>, Errno> {
        let due = Instant::now().checked_add(Duration::from_nanos(wait_ns.max(0).unsigned_abs()));
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut space = nix::cmsg_space!(TimeSpec);
        let mut buffer = [0_u8; DATAGRAM];
        let mut found = Vec::new();
        loop {
            let ready = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => 0,
                other => other?,
            };
            for event in events.iter().take(ready) {
                let number = event.data() as usize;
                let Some(Some(lane)) = self.lanes.get(number) else { continue };
                let mut parts = [std::io::IoSliceMut::new(&mut buffer)];
                let descriptor = lane.socket.as_raw_fd();
                let (length, arrival) = match recvmsg::<SockaddrStorage>(
                    descriptor,
                    &mut parts,
                    Some(&mut space),
                    MsgFlags::MSG_DONTWAIT,
                ) {
                    Ok(message) => (message.bytes, arrival(message.cmsgs().ok())),
                    Err(_) => continue,
                };
                let packet = buffer.get(..length).unwrap_or_default();
                match lane.receiving.as_ref().and_then(|receiving| received(receiving, packet, arrival)) {
                    Some(Some((payload, timestamp))) => {
                        self.heard.push((number, payload, i64::from(timestamp)));
                    }
                    Some(None) => {}
                    None => found.push((number, packet.to_vec(), arrival)),
                }
            }
            let left = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
            if !found.is_empty() || left.is_zero() {
                return Ok(found);
            }
            if ready == 0 {
                std::thread::sleep(left);
                return Ok(found);
            }
        }
    }
}

/// Return when the kernel took a datagram in, or the time where it did not say.
fn arrival(messages: Option<nix::sys::socket::CmsgIterator<'_>>) -> i64 {
    for message in messages.into_iter().flatten() {
        if let ControlMessageOwned::ScmTimestampns(stamp) = message {
            return stamp.tv_sec().saturating_mul(NS).saturating_add(stamp.tv_nsec());
        }
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// What was received of a lane's stream: payload and timestamp where they are kept; none for Python's packets.
fn received(receiving: &Receiving, packet: &[u8], arrival: i64) -> Option<Option<(Vec<u8>, u32)>> {
    let (first, second) = (*packet.first()?, *packet.get(1)?);
    // The header is readable before the packet is authenticated; Python authenticates what it is given.
    if first != PLAIN_HEADER || (192..=223).contains(&second) || receiving.judged == Some(second & 0x7F) {
        return None;
    }
    let plain = held(&receiving.context).unprotect(packet).ok()?;
    let [_, _, s0, s1, t0, t1, t2, t3] = *plain.first_chunk::<8>()?;
    let payload = plain.get(HEADER_LENGTH..)?;
    let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
    held(&receiving.counter).count(u16::from_be_bytes([s0, s1]), timestamp, payload.len(), arrival);
    let wanted = receiving.kept && second & 0x7F == receiving.payload_type;
    Some(wanted.then(|| (payload.to_vec(), timestamp)))
}
