//! Two ends, and what is on its way between them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::{chance, draw, timers, trace};

/// How links behave. Parts are of a thousand; times are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// The longest time that a packet takes.
    pub delay: u64,
    /// How often a write or a read is cut.
    pub cuts: u64,
    /// How often a packet stalls, with all behind it, and for how long at most.
    pub stalls: u64,
    /// The longest stall.
    pub stall: u64,
    /// How often a packet becomes a reset.
    pub resets: u64,
    /// How often, with a packet, the link falls silent for ever.
    pub silences: u64,
    /// The least that fits into a link.
    pub window: usize,
    /// The most that fits.
    pub windows: usize,
    /// How often connecting is refused.
    pub refusals: u64,
    /// How often accepting fails.
    pub accept_errors: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            delay: 1_000_000,
            cuts: 0,
            stalls: 0,
            stall: 0,
            resets: 0,
            silences: 0,
            window: 256 << 10,
            windows: 256 << 10,
            refusals: 0,
            accept_errors: 0,
        }
    }
}

/// After so long without an answer, the system gives a link up.
const GIVE_UP: u64 = 900_000_000_000;

enum Packet {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// One direction: what one end writes and the other reads.
#[derive(Default)]
struct Direction {
    in_flight: VecDeque<Packet>,
    /// When the last packet that was sent arrives.
    last: u64,
    /// Arrived, and not read.
    buffer: VecDeque<u8>,
    /// What has been written and not read.
    used: usize,
    fin: bool,
    /// The writer has said that it writes no more.
    shut: bool,
    /// A write did not fit, and the writer was not told yet that there is room.
    full: bool,
    /// The reading end is closed.
    reader_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The state of a link.
pub(crate) struct Link {
    faults: Faults,
    window: usize,
    directions: [Direction; 2],
    /// Each end: how the link has ended there.
    errors: [Option<ErrorKind>; 2],
    silent: bool,
    gives_up: bool,
    pub(crate) addresses: [SocketAddr; 2],
}

/// A link, as both ends hold it.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Link>>);

impl Shared {
    pub(crate) fn new(faults: Faults, addresses: [SocketAddr; 2]) -> Self {
        let most = faults.windows.max(faults.window);
        let window = faults.window + draw((most - faults.window) as u64 + 1) as usize;
        Shared(Arc::new(Mutex::new(Link {
            faults,
            window,
            directions: Default::default(),
            errors: [None; 2],
            silent: false,
            gives_up: false,
            addresses,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a packet from this end.
    fn send(&self, link: &mut Link, end: usize, packet: Packet) {
        let faults = link.faults;
        if link.silent {
            return;
        }
        let packet = if chance(faults.resets, 1000) {
            // Both ends get the reset.
            link.arrive_later(self, 1 - end, draw(faults.delay), Packet::Reset);
            Packet::Reset
        } else {
            packet
        };
        if chance(faults.silences, 1000) {
            link.silent = true;
            return;
        }
        let mut delay = draw(faults.delay + 1);
        if chance(faults.stalls, 1000) {
            delay += draw(faults.stall + 1);
        }
        link.arrive_later(self, end, delay, packet);
    }

    /// Takes bytes from this end: how many.
    pub(crate) fn write(&self, end: usize, bytes: &[u8]) -> io::Result<usize> {
        let mut link = self.lock();
        if let Some(error) = link.errors[end] {
            return Err(error.into());
        }
        let (window, faults) = (link.window, link.faults);
        let direction = &mut link.directions[end];
        if direction.shut {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = window.saturating_sub(direction.used);
        if direction.full || (room == 0 && !bytes.is_empty()) {
            direction.full = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut len = room.min(bytes.len());
        if len > 1 && chance(faults.cuts, 1000) {
            len = 1 + draw(len as u64) as usize;
        }
        direction.used += len;
        trace::note(&[40, end as u64, len as u64], || {
            format!("{} writes {len} of {}", link.addresses[end], bytes.len())
        });
        let mut rest = &bytes[..len];
        while !rest.is_empty() {
            let cut = match chance(faults.cuts, 1000) {
                true => 1 + draw(rest.len() as u64) as usize,
                false => rest.len(),
            };
            let (packet, after) = rest.split_at(cut);
            rest = after;
            self.send(&mut link, end, Packet::Bytes(packet.to_vec()));
        }
        let is_unanswered = link.silent && !link.gives_up && len > 0;
        if is_unanswered {
            link.gives_up = true;
            let shared = self.clone();
            timers::run_at(crate::now() + GIVE_UP, move || {
                shared.fail(end, ErrorKind::TimedOut);
            });
        }
        Ok(len)
    }

    /// Whether this end may write. If not, the waker is woken when it may.
    pub(crate) fn writable(&self, end: usize, waker: &Waker) -> bool {
        let mut link = self.lock();
        if link.errors[end].is_some() || !link.directions[end].full {
            return true;
        }
        link.directions[end].writer = Some(waker.clone());
        false
    }

    /// Reads at this end; none if there is nothing, and then the waker is woken.
    pub(crate) fn read(
        &self,
        end: usize,
        room: usize,
        waker: &Waker,
        mut take: impl FnMut(&[u8]),
    ) -> Option<io::Result<()>> {
        let mut link = self.lock();
        let (faults, window) = (link.faults, link.window);
        let error = link.errors[end];
        let direction = &mut link.directions[1 - end];
        if direction.buffer.is_empty() {
            if let Some(error) = error {
                return Some(Err(error.into()));
            }
            if direction.fin {
                return Some(Ok(()));
            }
            direction.reader = Some(waker.clone());
            return None;
        }
        let mut len = room.min(direction.buffer.len());
        if len > 1 && chance(faults.cuts, 1000) {
            len = 1 + draw(len as u64) as usize;
        }
        let (first, second) = direction.buffer.as_slices();
        let cut = first.len().min(len);
        take(&first[..cut]);
        if cut < len {
            take(&second[..len - cut]);
        }
        direction.buffer.drain(..len);
        direction.used -= len;
        trace::note(&[41, end as u64, len as u64], || {
            format!("{} reads {len}, {room} at most", link.addresses[end])
        });
        let direction = &mut link.directions[1 - end];
        // The system tells a writer when a third is free.
        let has_room = direction.full && window - direction.used >= (window / 3).max(1);
        if has_room && !link.silent {
            let shared = self.clone();
            timers::run_at(crate::now() + draw(faults.delay + 1), move || {
                let mut link = shared.lock();
                link.directions[1 - end].full = false;
                let waker = link.directions[1 - end].writer.take();
                drop(link);
                waker.inspect(Waker::wake_by_ref);
            });
        }
        Some(Ok(()))
    }

    /// This end writes no more.
    pub(crate) fn shut(&self, end: usize) -> io::Result<()> {
        let mut link = self.lock();
        if link.errors[end].is_some() {
            return Err(ErrorKind::NotConnected.into());
        }
        if !std::mem::replace(&mut link.directions[end].shut, true) {
            self.send(&mut link, end, Packet::Fin);
        }
        Ok(())
    }

    /// This end is closed.
    pub(crate) fn close(&self, end: usize, reset: bool) {
        let mut link = self.lock();
        let lost = !link.directions[1 - end].buffer.is_empty();
        link.directions[1 - end].reader_closed = true;
        link.directions[1 - end].reader = None;
        link.directions[end].writer = None;
        if reset {
            link.directions[end].in_flight.clear();
            link.directions[end].last = 0;
        }
        if reset || lost {
            if !link.silent {
                let delay = draw(link.faults.delay + 1);
                link.arrive_later(self, end, delay, Packet::Reset);
            }
        } else if !link.directions[end].shut {
            self.send(&mut link, end, Packet::Fin);
        }
        link.directions[end].shut = true;
    }

    fn fail(&self, end: usize, error: ErrorKind) {
        let mut link = self.lock();
        link.errors[end].get_or_insert(error);
        let wakers = [
            link.directions[end].writer.take(),
            link.directions[1 - end].reader.take(),
        ];
        drop(link);
        wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }

    /// The next packet of this end arrives.
    fn arrive(&self, end: usize) {
        let mut link = self.lock();
        let Some(packet) = link.directions[end].in_flight.pop_front() else {
            return;
        };
        if link.errors[1 - end].is_some() {
            // The link has failed before.
            return;
        }
        match packet {
            Packet::Reset => {
                drop(link);
                return self.fail(1 - end, ErrorKind::ConnectionReset);
            }
            Packet::Bytes(_) if link.directions[end].reader_closed => {
                // Nobody reads: the writer gets a reset.
                let delay = draw(link.faults.delay + 1);
                link.arrive_later(self, 1 - end, delay, Packet::Reset);
                return;
            }
            Packet::Bytes(bytes) => link.directions[end].buffer.extend(bytes),
            Packet::Fin => link.directions[end].fin = true,
        }
        let waker = link.directions[end].reader.take();
        drop(link);
        waker.inspect(Waker::wake_by_ref);
    }
}

impl Link {
    /// A packet of this end arrives behind those that are on their way.
    fn arrive_later(&mut self, shared: &Shared, end: usize, delay: u64, packet: Packet) {
        let at = (crate::now() + delay).max(self.directions[end].last);
        self.directions[end].last = at;
        self.directions[end].in_flight.push_back(packet);
        let shared = shared.clone();
        timers::run_at(at, move || shared.arrive(end));
    }
}
