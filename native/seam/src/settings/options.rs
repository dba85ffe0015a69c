//! Options of one connection.

use std::time::Duration;

use sockeye_engine::ConnOptions;

use crate::settings::config::time;
use crate::value::{BadArg, Read, Value};

/// The highest size and time.
const MOST: u32 = i32::MAX as u32;

fn positive<P>(value: &Value<P>) -> Read<u32> {
    let n: u32 = value.read()?;
    (1..=MOST).contains(&n).then_some(n).ok_or(BadArg)
}

fn limited<P>(value: &Value<P>) -> Read<Duration> {
    let time = time(value)?;
    let in_range = !time.is_zero() && time.as_millis() <= MOST.into();
    (in_range || value.is("infinity"))
        .then_some(time)
        .ok_or(BadArg)
}

/// Sets the option of this name. `false` if there is none of that name here;
/// `active`, whose value may also add to what there is, is not among them.
///
/// # Errors
/// The value is none of this option.
pub fn set_option<P>(options: &mut ConnOptions, key: &str, value: &Value<P>) -> Read<bool> {
    match key {
        "max_message_size" => options.max_message_size = Some(positive(value)? as usize),
        "max_frame_size" => options.max_frame_size = Some(positive(value)? as usize),
        "max_fragments" => options.max_fragments = Some(positive(value)?),
        "idle_timeout" => options.idle_timeout = Some(limited(value)?),
        "ping_interval" => options.ping_interval = Some(limited(value)?),
        "pong_timeout" => options.pong_timeout = Some(limited(value)?),
        "max_age" => options.max_age = Some(limited(value)?),
        "send_queue_size" => options.send_queue_size = Some(positive(value)?),
        _ => return Ok(false),
    }
    Ok(true)
}
