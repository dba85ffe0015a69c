//! Subscriptions, and what is known of topics.

use rustler::{Encoder, Env, Error, LocalPid, NifResult, Term};
use sockeye_engine::{CallKind, ConnId, ShardSet, SubscribeError, Tracer, topics};
use sockeye_seam::events;
use sockeye_seam::topic_changes::{self, TakenChanges};

use crate::atoms;
use crate::frames::CLIENT_TAG;
use crate::server::registry;
use crate::terms::scheduler::OnScheduler;
use crate::terms::{Builder, conn_of, map_of_any, ok_or_closed};
use crate::vm::reply::{PendingReply, ReplyTo};
use crate::vm::{backlog, process, running};

#[rustler::nif]
fn subscribe<'a>(env: Env<'a>, conn: Term<'a>, topic: Term<'a>) -> NifResult<Term<'a>> {
    change(env, conn, topic, true)
}

#[rustler::nif]
fn unsubscribe<'a>(env: Env<'a>, conn: Term<'a>, topic: Term<'a>) -> NifResult<Term<'a>> {
    change(env, conn, topic, false)
}

fn change<'a>(
    env: Env<'a>,
    conn: Term<'a>,
    topic: Term<'a>,
    subscribe: bool,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let conn = conn_of(env, conn)?;
    let name = b.bytes(topic.as_c_arg());
    let name = name
        .filter(|name| topics::is_name(name))
        .ok_or(Error::BadArg)?;
    let Some(engine) = running::engine() else {
        return Ok(ok_or_closed(env, false));
    };
    let Some(label) = engine.label_of(conn) else {
        return Ok(ok_or_closed(env, false));
    };
    // Nobody publishes to a client's own connection.
    if label.tag & CLIENT_TAG != 0 {
        return Err(Error::BadArg);
    }
    // Locks and an order to a thread: some microseconds.
    rustler::schedule::consume_timeslice(env, 1);
    let result = match subscribe {
        true => engine.subscribe(conn, name),
        false => engine.unsubscribe(conn, name),
    };
    let reason = match result {
        Ok(told) => {
            if told
                && let Some(id) = engine.server(label.server).map(|server| server.id())
                && let Some(pid) = registry::find(id).and_then(|host| host.topic_changes.note(name))
            {
                let message = b.term(env, topic_changes::changed(&mut { b }, id));
                // A dead process needs none.
                let _ = env.send(&pid, message);
            }
            let given = (ShardSet::one(conn.shard()), CallKind::Single);
            return Ok(backlog::ok(env, &engine, given));
        }
        Err(SubscribeError::Closed) => atoms::closed(),
        Err(SubscribeError::TooMany) => atoms::too_many_subscriptions(),
    };
    Ok((atoms::error(), reason).encode(env))
}

/// The process is told once that there is [`topic_news`].
#[rustler::nif]
fn watch_topics(env: Env<'_>, server: u64, pid: LocalPid) -> NifResult<Term<'_>> {
    let host = registry::find(server).ok_or(Error::BadArg)?;
    host.topic_changes.watch(pid);
    Ok(atoms::ok().encode(env))
}

/// Topics that may have got their first subscription, or lost their last: some of them and whether
/// there are more, or `all`.
#[rustler::nif]
fn topic_news(env: Env<'_>, server: u64) -> NifResult<Term<'_>> {
    let b = Builder::of(env);
    let host = registry::find(server).ok_or(Error::BadArg)?;
    Ok(match host.topic_changes.take() {
        TakenChanges::All => atoms::all().encode(env),
        TakenChanges::Names(names, more) => {
            let names: Vec<_> = names.iter().map(|name| b.binary(name)).collect();
            b.term(env, b.tuple([b.boolean(more), b.list(&names)]))
        }
    })
}

#[rustler::nif]
fn topic_count<'a>(env: Env<'a>, server: u64, topic: Term<'a>) -> NifResult<Term<'a>> {
    let name = Builder::of(env)
        .bytes(topic.as_c_arg())
        .ok_or(Error::BadArg)?;
    let count = running::server(server).map_or(0, |(engine, s)| engine.subscriptions(&s, name));
    Ok(count.encode(env))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn topics_of(env: Env<'_>, server: u64) -> NifResult<Term<'_>> {
    let b = Builder::of(env);
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    let pairs: Vec<_> = engine
        .topics(&server)
        .iter()
        .map(|(name, count)| (b.binary(name), b.integer(*count as u64)))
        .collect();
    Ok(b.term(env, map_of_any(b, OnScheduler::of(env), &pairs)))
}

/// The caller gets one answer from each shard: the connections of a server, or the subscribers of
/// a topic.
#[rustler::nif]
fn connections<'a>(
    env: Env<'a>,
    server: u64,
    topic: Term<'a>,
    (reference, waiting): PendingReply<'a>,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    let name = match topic.as_c_arg() {
        term if term == atoms::all().as_c_arg() => None,
        term => {
            let name = b.bytes(term).filter(|name| topics::is_plain(name));
            Some(name.ok_or(Error::BadArg)?)
        }
    };
    let parts = engine.connections(&server, name, || {
        let to = ReplyTo::new(env, (reference, waiting.clone()));
        Box::new(move |conns: &[ConnId]| {
            to.answer(|b| b.list(&conns.iter().map(|conn| b.conn(*conn)).collect::<Vec<_>>()));
        })
    });
    Ok(parts.encode(env))
}

/// The process gets the frames of the connection, so many a second, with so many bytes of each; with no rate it gets no more.
#[rustler::nif]
fn trace<'a>(
    env: Env<'a>,
    conn: Term<'a>,
    pid: LocalPid,
    id: u64,
    rate: u32,
    payload: usize,
) -> NifResult<Term<'a>> {
    let conn = conn_of(env, conn)?;
    let change = match rate {
        0 => Err(id),
        _ => Ok(Tracer {
            id,
            rate,
            payload,
            tell: Box::new(move |frame| {
                process::send(&pid, |mut b| events::traced(&mut b, id, frame))
            }),
        }),
    };
    let known = running::engine().is_some_and(|engine| engine.trace(conn, change));
    Ok(ok_or_closed(env, known))
}

/// `{sockeye_down, Conn}` comes to the process when the connection has ended.
#[rustler::nif]
fn watch_conn<'a>(env: Env<'a>, conn: Term<'a>, pid: LocalPid) -> NifResult<Term<'a>> {
    let conn = conn_of(env, conn)?;
    let tell = move |conn: ConnId| {
        process::send(&pid, |b| {
            b.tuple([b.atom(atoms::sockeye_down()), b.conn(conn)])
        });
    };
    let known = running::engine().is_some_and(|engine| engine.watch(conn, Box::new(tell)));
    Ok(ok_or_closed(env, known))
}
