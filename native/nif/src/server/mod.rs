//! A server on the side of the VM: the processes behind it, and what they are told.

pub(crate) mod desk;
pub(crate) mod dialled;
pub(crate) mod events;
pub(crate) mod host;
pub(crate) mod hosts;
pub(crate) mod news;
pub(crate) mod owner;
pub(crate) mod question;
pub(crate) mod refusals;
pub(crate) mod relay;
