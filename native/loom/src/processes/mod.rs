//! Of the processes of the VM, those that get events.

pub(crate) mod batches;
#[path = "../../../port/src/processes/receiver.rs"]
pub(crate) mod receiver;
