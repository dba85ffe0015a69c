//! What processes of the VM have in common, whether the engine is a library ([`crate::library`]) or a process ([`crate::port`]).

pub(crate) mod behaviour;
pub(crate) mod event;
pub(crate) mod host_name;
pub(crate) mod left_clients;
pub(crate) mod operation;
pub(crate) mod tls;
pub(crate) mod wakeup;
