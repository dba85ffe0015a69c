//! Frames for one connection: all of them, or none.

use rustler::{Encoder, Env, NifResult, Term};
use sockeye_engine::{CallKind, SendError, ShardSet};
use sockeye_seam::calls;

use crate::atoms;
use crate::frames::Bounds;
use crate::frames::outbound::{SendFailure, charge, refuse};
use crate::frames::reader::TermReader;
use crate::terms::{Builder, conn_of};
use crate::vm::backlog;
use crate::vm::running::with_engine_for;

#[rustler::nif]
fn send<'a>(env: Env<'a>, conn: Term<'a>, frames: Term<'a>) -> NifResult<Term<'a>> {
    send_with(env, conn, frames, Bounds::NORMAL)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn send_dirty<'a>(env: Env<'a>, conn: Term<'a>, frames: Term<'a>) -> NifResult<Term<'a>> {
    send_with(env, conn, frames, Bounds::NONE)
}

fn send_with<'a>(
    env: Env<'a>,
    conn: Term<'a>,
    frames: Term<'a>,
    bounds: Bounds,
) -> NifResult<Term<'a>> {
    let conn = conn_of(env, conn)?;
    let frames = frames.as_c_arg();
    let sent = with_engine_for(bounds.are_normal(), |engine| {
        let engine = engine.ok_or(SendFailure::Send(SendError::Closed))?;
        let bytes = calls::send(TermReader::of(env), engine, conn, frames, bounds)?;
        let shard = ShardSet::one(conn.shard());
        Ok((bytes, engine.backlogged(shard, CallKind::Single)))
    });
    match sent {
        Ok((bytes, crowded)) => {
            charge(env, bytes, 0);
            Ok(backlog::wrap(env, crowded, atoms::ok().encode(env)))
        }
        Err(failure) => refuse(env, Builder::of(env), failure),
    }
}
