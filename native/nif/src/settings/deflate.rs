//! What is wanted of permessage-deflate, out of the map that `sockeye_deflate` has completed.

use rustler::{NifResult, Term};
use sockeye_protocol::deflate::Policy;

use crate::atoms;
use crate::settings::config::{get, is};

/// `false`, or a map with every key.
pub(crate) fn policy(term: Term<'_>) -> NifResult<Option<Policy>> {
    if is(term, atoms::false_()) {
        return Ok(None);
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
