//! The commands of a handler's batch, on their way to the shards.

use rustler::{Env, Error, NifResult, Term};
use sockeye_seam::calls::{self, Stop};

use crate::atoms;
use crate::frames::Bounds;
use crate::frames::outbound::{charge, reason};
use crate::frames::reader::TermReader;
use crate::terms::Builder;
use crate::vm::backlog;
use crate::vm::running::with_engine_for;

/// Each error is `{Conn, Frame, Reason}`, with the terms of the command.
#[rustler::nif]
fn commands<'a>(env: Env<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    carry_out(env, list, Bounds::NORMAL)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn commands_dirty<'a>(env: Env<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    carry_out(env, list, Bounds::NONE)
}

fn carry_out<'a>(env: Env<'a>, list: Term<'a>, bounds: Bounds) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let carried = with_engine_for(bounds.are_normal(), |engine| {
        let list = list.as_c_arg();
        engine.map(|engine| calls::commands(TermReader::of(env), engine, list, bounds))
    });
    let Some(carried) = carried else {
        return Ok(b.term(env, b.atom(atoms::ok())));
    };
    let carried = carried.map_err(|_| Error::BadArg)?;
    charge(env, carried.bytes, carried.count);
    let errors = || {
        let errors = carried.errors.iter();
        let errors = errors.map(|e| b.tuple([e.conn, e.frame, reason(b, &e.failure)]));
        b.list(&errors.collect::<Vec<_>>())
    };
    let stopped = |why| b.tuple([b.atom(why), carried.rest, errors()]);
    let term = match carried.stop {
        Some(Stop::More) => stopped(atoms::more()),
        Some(Stop::Dirty) => stopped(atoms::dirty()),
        None if carried.errors.is_empty() => b.atom(atoms::ok()),
        None => b.tuple([b.atom(atoms::done()), errors()]),
    };
    Ok(backlog::wrap(env, carried.crowded, b.term(env, term)))
}
