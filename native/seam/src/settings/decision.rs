//! The answer of `accept` or of an HTTP function, as `sockeye_decision` has checked it.

use std::time::Duration;

use sockeye_engine::{AcceptState, Acceptance, Answer, ConnOptions, StreamEnd};
use sockeye_protocol::handshake::Refusal;

use crate::settings::config::{active, time};
use crate::value::{BadArg, FromValue, Read, Value};

/// Reads the decision. `state` is what it hands to the process that will serve the connection.
///
/// # Errors
/// It is none.
pub fn decision<P>(value: &Value<P>, state: Option<AcceptState>) -> Read<Answer> {
    match value.tuple()? {
        [tag, options] if tag.is("accept") => accept(options, state),
        [tag, status, headers, body] if tag.is("reject") => {
            let mut refusal = Refusal::new(status.read()?, body.bytes()?.to_vec());
            refusal.headers = headers.read()?;
            Ok(Answer::Respond(refusal))
        }
        _ => Err(BadArg),
    }
}

/// The head of an answer in pieces: `{Status, Headers}`.
///
/// # Errors
/// It is none.
pub fn stream_head<P>(value: &Value<P>) -> Read<Refusal> {
    let [status, headers] = value.tuple()? else {
        return Err(BadArg);
    };
    let mut head = Refusal::new(status.read()?, Vec::new());
    head.headers = headers.read()?;
    Ok(head)
}

/// How an answer in pieces ends: `ok`, or `closed` for one that is broken off.
///
/// # Errors
/// It is neither.
pub fn stream_end<P>(value: &Value<P>) -> Read<StreamEnd> {
    match value {
        end if end.is("ok") => Ok(StreamEnd::Complete),
        end if end.is("closed") => Ok(StreamEnd::Broken),
        _ => Err(BadArg),
    }
}

fn accept<P>(options: &Value<P>, state: Option<AcceptState>) -> Read<Answer> {
    let mut acceptance = Acceptance::default();
    if let Some(chosen) = options.find("subprotocol") {
        acceptance.subprotocol = Some(match chosen.is("undefined") {
            true => None,
            false => Some(chosen.read()?),
        });
    }
    if let Some(headers) = options.find("headers") {
        acceptance.headers = headers.read()?;
    }
    acceptance.accept_state = state;
    let user_data = options.find("user_data").map(Value::read::<String>);
    acceptance.user_data = user_data.transpose()?.map(String::into_boxed_str);
    acceptance.options = conn_options(options)?;
    Ok(Answer::Accept(Box::new(acceptance)))
}

/// The settings of one connection.
fn conn_options<P>(map: &Value<P>) -> Read<ConnOptions> {
    let mut options = ConnOptions::default();
    options.active = map.find("active").map(active).transpose()?;
    options.max_message_size = optional(map, "max_message_size")?;
    options.max_frame_size = optional(map, "max_frame_size")?;
    options.max_fragments = optional(map, "max_fragments")?;
    options.idle_timeout = limit(map, "idle_timeout")?;
    options.ping_interval = limit(map, "ping_interval")?;
    options.pong_timeout = limit(map, "pong_timeout")?;
    options.max_age = limit(map, "max_age")?;
    options.send_queue_size = optional(map, "send_queue_size")?;
    Ok(options)
}

fn optional<P, T: FromValue<P>>(map: &Value<P>, key: &str) -> Read<Option<T>> {
    map.find(key).map(Value::read).transpose()
}

fn limit<P>(map: &Value<P>, key: &str) -> Read<Option<Duration>> {
    map.find(key).map(time).transpose()
}
