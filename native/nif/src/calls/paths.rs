//! The form of paths, for options.

use rustler::{Binary, Encoder, Env, Term};
use sockeye_protocol::handshake::comparable_pattern;

use crate::atoms;

/// `{ok, Form}`, by which patterns of paths are compared, or `error` for what is none.
#[rustler::nif]
fn path_form<'a>(env: Env<'a>, pattern: Binary<'a>) -> Term<'a> {
    let text = str::from_utf8(pattern.as_slice()).ok();
    match text.and_then(comparable_pattern) {
        Some(form) => (atoms::ok(), form).encode(env),
        None => atoms::error().encode(env),
    }
}
