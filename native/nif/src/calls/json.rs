//! JSON without a connection: text to a term and back, with no server and no engine.

use std::cell::RefCell;

use rustler::sys::{ErlNifTerm, enif_get_map_size};
use rustler::{Env, Error, NifResult, Term};
use sockeye_json::Null;
use sockeye_seam::events;
use sockeye_seam::settings::{JsonOptions, encode_null};

use crate::atoms;
use crate::frames::NORMAL_JSON;
use crate::frames::iolist::{flatten, iolist_exceeds};
use crate::frames::outbound::charge;
use crate::json::decode;
use crate::json::encode::{self, CallId, EncodeError};
use crate::json::values::DecodeContext;
use crate::settings::tree::tree;
use crate::terms::Builder;
use crate::terms::scheduler::OnScheduler;

/// A buffer that grew beyond this is given back.
const KEPT: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[rustler::nif]
fn json_decode<'a>(env: Env<'a>, text: Term<'a>, options: Term<'a>) -> NifResult<Term<'a>> {
    decoded(env, text, options, true)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn json_decode_dirty<'a>(env: Env<'a>, text: Term<'a>, options: Term<'a>) -> NifResult<Term<'a>> {
    decoded(env, text, options, false)
}

#[rustler::nif]
fn json_encode<'a>(env: Env<'a>, term: Term<'a>, options: Term<'a>) -> NifResult<Term<'a>> {
    encoded(env, term, options, NORMAL_JSON)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn json_encode_dirty<'a>(env: Env<'a>, term: Term<'a>, options: Term<'a>) -> NifResult<Term<'a>> {
    encoded(env, term, options, usize::MAX)
}

/// `{ok, Value} | {error, {Kind, Offset}} | dirty | bad_option`
fn decoded<'a>(
    env: Env<'a>,
    text: Term<'a>,
    options: Term<'a>,
    on_normal_scheduler: bool,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let options = if is_empty_map(b, options.as_c_arg()) {
        JsonOptions::default()
    } else {
        // The caller finds out, and says, what is wrong with them.
        match JsonOptions::of(&tree(options)) {
            Ok(options) => options,
            Err(_) => return Ok(b.term(env, b.atom(atoms::bad_option()))),
        }
    };
    let text = text.as_c_arg();
    let bytes = match b.bytes(text) {
        Some(bytes) => bytes,
        // Flattening is work as well: the bound comes first.
        None if on_normal_scheduler && iolist_exceeds(b, text, decode::NORMAL_LIGHT) => {
            return Ok(b.term(env, b.atom(atoms::dirty())));
        }
        None => flatten(b, text).ok_or(Error::BadArg)?,
    };
    if on_normal_scheduler && !decode::is_normal(bytes) {
        return Ok(b.term(env, b.atom(atoms::dirty())));
    }
    #[cfg(planted)]
    crate::planted::fault(bytes);
    charge(env, bytes.len(), 0);
    let mut gave_up = false;
    let decoded = sockeye_json::utf8(bytes).and_then(|text| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut context = DecodeContext::new(b, OnScheduler::of(env), scratch);
            if on_normal_scheduler {
                context = context.on_normal_scheduler();
            }
            let term = decode::decode(&mut context, text, &options);
            gave_up = context.gave_up;
            term
        })
    });
    let result = match decoded {
        _ if gave_up => b.atom(atoms::dirty()),
        Ok(term) => b.tuple([b.atom(atoms::ok()), term]),
        Err(error) => b.tuple([b.atom(atoms::error()), events::why(&mut { b }, &error)]),
    };
    Ok(b.term(env, result))
}

/// `{ok, Text} | {error, {not_json, Part}} | dirty | bad_option`
fn encoded<'a>(
    env: Env<'a>,
    term: Term<'a>,
    options: Term<'a>,
    limit: usize,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let null = if is_empty_map(b, options.as_c_arg()) {
        Null::Null
    } else {
        match encode_null(&tree(options)) {
            Ok(null) => null,
            Err(_) => return Ok(b.term(env, b.atom(atoms::bad_option()))),
        }
    };
    let result = SCRATCH.with_borrow_mut(|out| {
        out.clear();
        let result = match encode::encode(b.env, CallId::new(), term.as_c_arg(), null, limit, out) {
            Ok(()) => b.tuple([b.atom(atoms::ok()), b.binary(out)]),
            Err(EncodeError::NotJson(part)) => {
                let why = b.tuple([b.atom(atoms::not_json()), part]);
                b.tuple([b.atom(atoms::error()), why])
            }
            Err(EncodeError::TooLarge) => b.atom(atoms::dirty()),
        };
        charge(env, out.len(), 0);
        if out.capacity() > KEPT {
            *out = Vec::new();
        }
        result
    });
    Ok(b.term(env, result))
}

fn is_empty_map(b: Builder, term: ErlNifTerm) -> bool {
    let mut size = 0;
    // SAFETY: the term belongs to the environment; `size` is written when the result is not 0.
    (unsafe { enif_get_map_size(b.env, term, &mut size) } != 0) && size == 0
}
