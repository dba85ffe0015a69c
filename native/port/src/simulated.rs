//! What the simulation starts and inspects.

use std::sync::Arc;

use sockeye_engine::Engine;

use crate::link::packets::{Broken, Incoming};
use crate::sections::serve;
use crate::server::port::Port;
use crate::world::net::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes of small sections that wait for the VM from which on events stay where they are.
pub const FULL: usize = crate::link::FULL;
/// Batches on their way that are not acknowledged.
pub const CREDIT: u8 = crate::processes::receiver::CREDIT;

/// What stands for the process.
pub struct Process(Arc<Port>);

/// Begins on the executor at hand. The second part serves the link, until it ends.
pub fn begin(
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
) -> (Process, impl Future<Output = Result<(), Broken>>) {
    let port = serve::begin(writer);
    let served = port.clone();
    let serve = async move { serve::listen(reader, Incoming::default(), &served).await };
    (Process(port), serve)
}

impl Process {
    /// The engine, once it has been started.
    pub fn engine(&self) -> Option<Arc<Engine>> {
        self.0.engine()
    }

    /// As at the end of the process.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Bytes of sections that wait for the VM: small ones, and large ones.
    pub fn waiting(&self) -> (usize, usize) {
        self.0.link.waiting()
    }

    /// Bytes that the link has in memory for small sections, and those that it may have.
    pub fn memory(&self) -> (usize, usize) {
        self.0.link.memory()
    }

    /// What there is, by kind.
    pub fn census(&self) -> Vec<(&'static str, usize)> {
        let (hosts, numbers) = self.0.servers_count();
        vec![
            ("processes", self.0.processes.count()),
            ("grants", self.0.grants.count()),
            ("receivers that are stalled", self.0.link.stalled_count()),
            ("hosts", hosts),
            ("numbers of servers", numbers),
        ]
    }
}
