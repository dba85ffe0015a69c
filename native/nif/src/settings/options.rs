//! Options of one connection out of terms.

use rustler::types::atom::Atom;
use rustler::{Error, NifResult, Term};
use sockeye_engine::ConnOptions;

use crate::atoms;
use crate::settings::config::time;

/// The highest size and time.
const MOST: u32 = i32::MAX as u32;

fn positive(term: Term<'_>) -> NifResult<u32> {
    let n: u32 = term.decode()?;
    (1..=MOST).contains(&n).then_some(n).ok_or(Error::BadArg)
}

/// Sets the option that this key and value name. `false` if there is none of that name here;
/// `active`, whose value may also add to what there is, is not among them.
pub(crate) fn set(options: &mut ConnOptions, key: Atom, value: Term<'_>) -> NifResult<bool> {
    let limited = |value: Term<'_>| match time(value)? {
        time if time.is_zero() || (time.as_millis() > MOST.into() && !is_never(value)) => {
            Err(Error::BadArg)
        }
        time => Ok(Some(time)),
    };
    if key == atoms::max_message_size() {
        options.max_message_size = Some(positive(value)? as usize);
    } else if key == atoms::max_frame_size() {
        options.max_frame_size = Some(positive(value)? as usize);
    } else if key == atoms::max_fragments() {
        options.max_fragments = Some(positive(value)?);
    } else if key == atoms::idle_timeout() {
        options.idle_timeout = limited(value)?;
    } else if key == atoms::ping_interval() {
        options.ping_interval = limited(value)?;
    } else if key == atoms::pong_timeout() {
        options.pong_timeout = limited(value)?;
    } else if key == atoms::max_age() {
        options.max_age = limited(value)?;
    } else if key == atoms::send_queue_size() {
        options.send_queue_size = Some(positive(value)?);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn is_never(value: Term<'_>) -> bool {
    value.as_c_arg() == atoms::infinity().as_c_arg()
}
