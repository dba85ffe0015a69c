//! JSON text to terms and terms to JSON text.

pub(crate) mod decode;
pub(crate) mod encode;
mod events;
mod shapes;
mod short_key;
pub(crate) mod values;
