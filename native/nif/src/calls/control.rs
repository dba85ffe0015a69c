//! The calls that start, stop and inspect.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Error, LocalPid, NifResult, Term};
use sockeye_engine::op::{Command, ConnStats};
use sockeye_engine::{CallKind, ConnId, ConnOptions, Engine, EngineConfig, Frames, Peer, ShardSet};
use sockeye_seam::allocator;
use sockeye_seam::frames::set_active;
use sockeye_seam::settings::{read_tls, set_option};
use sockeye_seam::value::BadArg;
use sockeye_seam::{Atom as Named, calls as facts, events};

use crate::atoms;
use crate::calls::adopt;
use crate::frames::reader::TermReader;
use crate::server::host;
use crate::server::{registry, relay};
use crate::settings::config::Settings;
use crate::settings::tls;
use crate::settings::tree::{bad_arg, tree};
use crate::terms::{self, Builder, conn_of, errno, map, ok_or_closed};
use crate::vm::monitor::{self, Watched};
use crate::vm::reply::{PendingReply, ReplyTo};
use crate::vm::running::{self, Running};
use crate::vm::{backlog, lock, memory};

/// How long a port may take to become free that one of us has let go of.
const PATIENCE: Duration = Duration::from_secs(1);

#[rustler::nif(schedule = "DirtyIo")]
fn engine_start<'a>(env: Env<'a>, options: Term<'a>) -> NifResult<Term<'a>> {
    let shards: usize = options.map_get(atoms::shards())?.decode()?;
    let _turn = lock(&running::CHANGE);
    if let Some(running) = running::current() {
        if running.owner.is_alive(env) {
            return Ok((atoms::error(), atoms::already_running()).encode(env));
        }
        // Its supervisor may hear of its death before we do.
        running::end_in_background(&running.engine);
    }
    // Servers that begin again at once find their ports free.
    running::await_ports(Instant::now() + PATIENCE);
    let mut config = EngineConfig::new(shards);
    config.after_notices = relay::notify_all;
    config.give_back = allocator::give_back;
    if options.map_get(atoms::malloc_is_default())?.decode()? {
        allocator::keep_some();
    }
    let engine = match Engine::start(config) {
        Ok(engine) => engine,
        Err(e) => return Ok((atoms::error(), e.to_string()).encode(env)),
    };
    let owner = running::caller(env);
    running::set(Running {
        engine: engine.clone(),
        owner,
    });
    if monitor::watch(Some(env), &owner, Watched::Engine(engine)).is_none() {
        stop();
        return Err(Error::BadArg);
    }
    Ok(atoms::ok().encode(env))
}

/// The processes of all servers and clients. A long call may have the only CPU scheduler of a small machine, and the end does not wait for it.
#[rustler::nif(schedule = "DirtyIo")]
fn engine_hosts(env: Env<'_>) -> Term<'_> {
    let pids = running::engine().map(|engine| registry::pids_of(&engine));
    pids.unwrap_or_default().encode(env)
}

#[rustler::nif(schedule = "DirtyIo")]
fn engine_stop(env: Env<'_>) -> Term<'_> {
    let _turn = lock(&running::CHANGE);
    stop();
    atoms::ok().encode(env)
}

fn stop() {
    if let Some(running) = running::current() {
        running.engine.stop();
        running::clear(&running.engine);
    }
}

#[rustler::nif]
fn engine_info(env: Env<'_>) -> NifResult<Term<'_>> {
    let b = Builder::of(env);
    let engine = running::engine().ok_or(Error::BadArg)?;
    let memory = [(Named::memory, memory::held())];
    Ok(b.term(env, facts::engine_map(&mut { b }, &engine, &memory)))
}

#[rustler::nif(schedule = "DirtyIo")]
fn listen<'a>(env: Env<'a>, config: Term<'a>) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let mut settings = Settings::read(env, &tree(config))?;
    settings.engine.tls = match read_tls(settings.tls.take()) {
        Ok(tls) => tls,
        Err(why) => return Ok(tls::refused(env, &why)),
    };
    if let Some(descriptor) = settings.descriptor {
        match adopt::listening(descriptor) {
            Ok(address) => settings.engine.address = address,
            Err(e) => return Ok(errno(env, &e)),
        }
    }
    let Some(engine) = running::engine() else {
        return Ok((atoms::error(), atoms::not_running()).encode(env));
    };
    let pid = running::caller(env);
    let deadline = Instant::now() + PATIENCE;
    let (server, place) = loop {
        match engine.listen(settings.engine.clone(), settings.host(pid, &engine)) {
            Ok(listening) => break listening,
            Err(e)
                if e.kind() == io::ErrorKind::AddrInUse
                    && Instant::now() < deadline
                    && is_leaving(env, &engine) =>
            {
                std::thread::sleep(running::MOMENT);
            }
            Err(e) => return Ok(errno(env, &e)),
        }
    };
    let watched = Watched::Server {
        server: server.clone(),
        engine: Arc::downgrade(&engine),
    };
    if monitor::watch(Some(env), &pid, watched).is_none() {
        engine.stop_server(&server, 1001, "server stopped");
    }
    let (ip, port) = match &place {
        Some(Peer::Inet(ip, port)) => (events::ip(&mut { b }, *ip), *port),
        Some(unix) => (events::peer(&mut { b }, unix), 0),
        None => (b.atom(atoms::none()), 0),
    };
    let place = map(
        b,
        &[
            (b.atom(atoms::address()), ip),
            (b.atom(atoms::port()), b.integer(port.into())),
        ],
    );
    let id = b.integer(server.id());
    Ok(b.term(env, b.tuple([b.atom(atoms::ok()), id, place])))
}

/// Whether a server is about to let go of its port: it stops, or its process is dead and we have
/// not heard of it.
fn is_leaving(env: Env<'_>, engine: &Arc<Engine>) -> bool {
    let servers = engine.all_servers();
    let mut listening = servers.iter().filter(|server| server.is_listening());
    listening.any(|server| {
        let host = registry::find(server.id());
        if host.is_some_and(|host| !host.pid.is_alive(env)) {
            engine.stop_server(server, 1001, "server stopped");
        }
        server.is_stopping()
    })
}

#[rustler::nif]
fn server_stop<'a>(env: Env<'a>, server: u64, code: u16, reason: &str) -> NifResult<Term<'a>> {
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    engine.stop_server(&server, code, reason);
    Ok(atoms::ok().encode(env))
}

#[rustler::nif]
fn server_drain(env: Env<'_>, server: u64) -> NifResult<Term<'_>> {
    let (_, server) = running::server(server).ok_or(Error::BadArg)?;
    server.drain();
    Ok(atoms::ok().encode(env))
}

/// Looks at the slots of all connections.
#[rustler::nif(schedule = "DirtyCpu")]
fn server_info(env: Env<'_>, server: u64) -> NifResult<Term<'_>> {
    let b = Builder::of(env);
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    let map = facts::server_map(&mut { b }, &engine.stats(&server));
    Ok(b.term(env, map))
}

/// `ok` if the connection's shard was given something, or `{error, closed}`.
fn outcome<'a>(env: Env<'a>, conn: ConnId, given: bool) -> Term<'a> {
    if !given {
        return ok_or_closed(env, false);
    }
    let shards = ShardSet::one(conn.shard());
    let crowded = running::with_engine(|engine| {
        engine.map_or(ShardSet::default(), |e| {
            e.backlogged(shards, CallKind::Single)
        })
    });
    backlog::wrap(env, crowded, atoms::ok().encode(env))
}

#[rustler::nif]
fn setopts<'a>(env: Env<'a>, conn: Term<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    set(env, conn, list)
}

/// For a long list.
#[rustler::nif(schedule = "DirtyCpu")]
fn setopts_dirty<'a>(env: Env<'a>, conn: Term<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    set(env, conn, list)
}

fn set<'a>(env: Env<'a>, conn: Term<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    let r = TermReader::of(env);
    let conn = conn_of(env, conn)?;
    let list = terms::list(list)?;
    let mut frames = Frames::default();
    let mut others = ConnOptions::default();
    for option in list {
        let (key, value): (Atom, Term<'_>) = option.decode()?;
        if key == atoms::active() {
            let change = set_active(r, value.as_c_arg()).ok_or(Error::BadArg)?;
            frames.commands.push((conn, Command::Active(change)));
        } else {
            let (key, value) = (tree(key.to_term(env)), tree(value));
            let set = key
                .atom()
                .and_then(|key| set_option(&mut others, key, &value));
            set.and_then(|known| known.then_some(()).ok_or(BadArg))
                .map_err(bad_arg)?;
        }
    }
    if others != ConnOptions::default() {
        let part = Command::Options(Box::new(others));
        frames.commands.push((conn, part));
    }
    let known = running::with_engine(|engine| {
        let engine = engine.filter(|engine| engine.is_known(conn));
        engine.map(|engine| engine.send(conn.shard(), frames))
    });
    Ok(outcome(env, conn, known.is_some()))
}

/// `{Reference, ok}` comes when what arrived before is with the old owner. Connections of handlers stay with them: badarg.
#[rustler::nif]
fn controlling_process<'a>(
    env: Env<'a>,
    conn: Term<'a>,
    pid: LocalPid,
    asked: PendingReply<'a>,
) -> NifResult<Term<'a>> {
    let conn = conn_of(env, conn)?;
    let to = ReplyTo::new(env, asked);
    let done = Box::new(move || to.answer(|b| b.atom(atoms::ok())));
    let given = host::give(env, conn, pid, done)?;
    Ok(ok_or_closed(env, given.is_ok()))
}

/// The caller gets so many answers: one of each shard, when it comes by.
#[rustler::nif]
fn pass_shards<'a>(env: Env<'a>, (reference, waiting): PendingReply<'a>) -> usize {
    let asked = Cell::new(0);
    if let Some(engine) = running::engine() {
        engine.call_each(|| {
            asked.set(asked.get() + 1);
            let to = ReplyTo::new(env, (reference, waiting.clone()));
            Box::new(move || to.answer(|b| b.atom(atoms::ok())))
        });
    }
    asked.get()
}

#[rustler::nif]
fn conn_info<'a>(env: Env<'a>, conn: Term<'a>, asked: PendingReply<'a>) -> NifResult<Term<'a>> {
    let conn = conn_of(env, conn)?;
    let to = ReplyTo::new(env, asked);
    let Some(engine) = running::engine() else {
        return Ok(ok_or_closed(env, false));
    };
    let reply = move |stats: Option<ConnStats>| {
        to.answer(|b| match stats {
            Some(stats) => b.tuple([b.atom(atoms::ok()), facts::conn_map(&mut { b }, &stats)]),
            None => b.tuple([b.atom(atoms::error()), b.atom(atoms::closed())]),
        });
    };
    let asked = engine.conn_stats(conn, Box::new(reply));
    Ok(ok_or_closed(env, asked.is_ok()))
}

/// `ok` promises a page of a server's connections on a shard, see [`Engine::rows`].
#[rustler::nif]
fn rows<'a>(
    env: Env<'a>,
    server: u64,
    (shard, from): (usize, u32),
    asked: PendingReply<'a>,
) -> NifResult<Term<'a>> {
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    let to = ReplyTo::new(env, asked);
    let reply = move |rows: &[u8], next| to.answer(|b| facts::rows(&mut { b }, rows, next));
    if engine.rows(&server, shard, from, Box::new(reply)) {
        return Ok(atoms::ok().encode(env));
    }
    Err(Error::BadArg)
}

/// A connection, or a question to a server, for which no process could be started.
#[rustler::nif]
fn no_process<'a>(env: Env<'a>, whose: Term<'a>) -> NifResult<Term<'a>> {
    if let Some(id) = Builder::of(env).as_u64(whose.as_c_arg()) {
        running::server(id)
            .iter()
            .for_each(|(_, server)| server.note_no_process());
    } else {
        let conn = conn_of(env, whose)?;
        running::with_engine(|engine| engine.iter().for_each(|engine| engine.no_process(conn)));
    }
    Ok(atoms::ok().encode(env))
}

/// The server that a connection belongs to.
#[rustler::nif]
fn conn_server<'a>(env: Env<'a>, conn: Term<'a>) -> NifResult<Term<'a>> {
    let conn = conn_of(env, conn)?;
    let found = running::with_engine(|engine| engine?.server_of(conn));
    Ok(match found {
        Some(server) => (atoms::ok(), server.id()).encode(env),
        None => (atoms::error(), atoms::closed()).encode(env),
    })
}
