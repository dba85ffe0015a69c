//! What is wanted of permessage-deflate, out of the map that `sockeye_deflate` has completed.

use rustler::types::atom::Atom;
use rustler::{Decoder, NifResult, Term};
use sockeye_protocol::deflate::Policy;

use crate::atoms;

/// `false`, or a map with every key.
pub(crate) fn policy(term: Term<'_>) -> NifResult<Option<Policy>> {
    if term.as_c_arg() == atoms::false_().as_c_arg() {
        return Ok(None);
    }
    fn get<'a, T: Decoder<'a>>(map: Term<'a>, key: Atom) -> NifResult<T> {
        map.map_get(key)?.decode()
    }
    let mut policy = Policy::default();
    policy.server_takeover = get(term, atoms::server_context_takeover())?;
    policy.client_takeover = get(term, atoms::client_context_takeover())?;
    policy.server_max_window_bits = get(term, atoms::server_max_window_bits())?;
    policy.client_max_window_bits = get(term, atoms::client_max_window_bits())?;
    policy.tuning.level = get(term, atoms::level())?;
    policy.tuning.mem_level = get(term, atoms::mem_level())?;
    policy.tuning.threshold = get(term, atoms::threshold())?;
    Ok(Some(policy))
}
