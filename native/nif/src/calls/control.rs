//! The calls that start, stop and inspect.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Error, LocalPid, NifResult, Term};
use sockeye_engine::op::{Command, ConnStats};
use sockeye_engine::{
    Active, CallKind, ConnId, ConnOptions, Engine, EngineConfig, Frames, Peer, ShardSet,
};

use crate::atoms;
use crate::frames::grammar;
use crate::server::host;
use crate::server::{events, registry, relay};
use crate::settings::config::Settings;
use crate::settings::{options, tls};
use crate::terms::errno::errno;
use crate::terms::{self, Builder, conn_of, map, ok_or_closed};
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
        running::bury(&running.engine);
    }
    // Servers that begin again at once find their ports free.
    running::await_ports(Instant::now() + PATIENCE);
    let mut config = EngineConfig::new(shards);
    config.after_notices = relay::notify_all;
    config.after_mass_disconnect = memory::give_back;
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

/// The processes of all servers and clients.
#[rustler::nif(schedule = "DirtyCpu")]
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
    let servers = engine.all_servers();
    let open = servers.iter().map(|s| s.stats().connections as u64).sum();
    let pairs = [
        (b.atom(atoms::shards()), b.integer(engine.shards() as u64)),
        (b.atom(atoms::servers()), b.integer(servers.len() as u64)),
        (b.atom(atoms::connections()), b.integer(open)),
        (b.atom(atoms::memory()), b.integer(memory::held())),
        (
            b.atom(atoms::queued_calls()),
            b.integer(engine.queued_calls() as u64),
        ),
        (
            b.atom(atoms::delayed_calls()),
            b.integer(engine.delayed_calls()),
        ),
    ];
    Ok(b.term(env, map(b, &pairs)))
}

#[rustler::nif(schedule = "DirtyIo")]
fn listen<'a>(env: Env<'a>, config: Term<'a>) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let mut settings = Settings::decode(config)?;
    settings.engine.tls = match tls::read(settings.tls.take()) {
        Ok(tls) => tls,
        Err(why) => return Ok(tls::refused(env, &why)),
    };
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
            Err(e) => return Ok((atoms::error(), errno(&e)).encode(env)),
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
        Peer::Inet(ip, port) => (events::ip(b, *ip), *port),
        unix => (events::peer(b, unix), 0),
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

#[rustler::nif]
fn server_info(env: Env<'_>, server: u64) -> NifResult<Term<'_>> {
    let b = Builder::of(env);
    let (_, server) = running::server(server).ok_or(Error::BadArg)?;
    let stats = server.stats();
    let pairs = [
        (atoms::connections(), stats.connections as u64),
        (atoms::accepted(), stats.accepted),
        (atoms::rejected(), stats.rejected),
        (atoms::frames_in(), stats.frames_in),
        (atoms::frames_out(), stats.frames_out),
        (atoms::bytes_in(), stats.bytes_in),
        (atoms::bytes_out(), stats.bytes_out),
        (atoms::dropped(), stats.dropped),
        (atoms::busy(), stats.busy),
        (atoms::failed(), stats.failed),
        (atoms::requests(), stats.requests),
        (atoms::bytes_saved(), stats.saved),
        (atoms::unanswered(), stats.unanswered),
        (atoms::no_process(), stats.no_process),
        (atoms::no_descriptor(), stats.no_descriptor),
        (atoms::accept_errors(), stats.accept_errors),
        (atoms::accept_pauses(), stats.accept_pauses),
    ];
    Ok(b.term(
        env,
        map(b, &pairs.map(|(key, n)| (b.atom(key), b.integer(n)))),
    ))
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
    let b = Builder::of(env);
    let conn = conn_of(env, conn)?;
    let list = terms::list(list)?;
    let mut frames = Frames::default();
    let mut others = ConnOptions::default();
    for option in list {
        let (key, value): (Atom, Term<'_>) = option.decode()?;
        if key == atoms::active() {
            let change = grammar::set_active(b, value.as_c_arg()).ok_or(Error::BadArg)?;
            frames.commands.push((conn, Command::Active(change)));
        } else if !options::set(&mut others, key, value)? {
            return Err(Error::BadArg);
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

/// `{Reference, ok}` comes when what arrived before is with the old owner.
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
    let given = host::give(env, conn, pid, done);
    Ok(ok_or_closed(env, given.is_ok()))
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
            Some(stats) => b.tuple([b.atom(atoms::ok()), conn_map(b, &stats)]),
            None => b.tuple([b.atom(atoms::error()), b.atom(atoms::closed())]),
        });
    };
    let asked = engine.conn_stats(conn, Box::new(reply));
    Ok(ok_or_closed(env, asked.is_ok()))
}

fn conn_map(b: Builder, stats: &ConnStats) -> rustler::sys::ErlNifTerm {
    let active = match stats.active {
        Active::True => b.atom(atoms::true_()),
        Active::False => b.atom(atoms::false_()),
        Active::Once => b.atom(atoms::once()),
        Active::Count(n) => b.integer(n.into()),
    };
    let mut pairs = events::peer_info(b, &stats.peer_info).to_vec();
    pairs.extend([
        (b.atom(atoms::path()), b.binary(stats.path.as_bytes())),
        (b.atom(atoms::query()), b.binary(stats.query.as_bytes())),
        (
            b.atom(atoms::subprotocol()),
            events::subprotocol(b, stats.subprotocol.as_deref()),
        ),
        (b.atom(atoms::age()), b.integer(stats.age)),
        (b.atom(atoms::send_queue()), b.integer(stats.queue as u64)),
        (b.atom(atoms::held()), b.integer(stats.held as u64)),
        (b.atom(atoms::frames_in()), b.integer(stats.frames_in)),
        (b.atom(atoms::active()), active),
        (b.atom(atoms::deflate()), b.boolean(stats.deflate)),
    ]);
    map(b, &pairs)
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
    let found = running::with_engine(|engine| {
        let engine = engine?;
        engine.server(engine.home_of(conn)?.server)
    });
    Ok(match found {
        Some(server) => (atoms::ok(), server.id()).encode(env),
        None => (atoms::error(), atoms::closed()).encode(env),
    })
}
