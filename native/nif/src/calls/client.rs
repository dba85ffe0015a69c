//! The calls of clients.

use std::sync::Arc;

use rustler::{Binary, Encoder, Env, Error, NifResult, Term};
use sockeye_engine::{ClientTls, Proxy, Url};
use sockeye_protocol::handshake::names_a_host;
use sockeye_seam::settings::{CLIENT_TAG, client_tls, dial};

use crate::settings::config::Settings;
use crate::settings::tree::{bad_arg, tree};
use crate::terms::{Builder, errno};
use crate::vm::monitor::{self, Watched};
use crate::vm::running;
use crate::{atoms, settings};

/// Reads a URL: `{ok, Place}` for people, or `{error, Why}`.
#[rustler::nif]
fn client_url<'a>(env: Env<'a>, url: &str) -> Term<'a> {
    match Url::parse(url) {
        Ok(url) => (atoms::ok(), url.authority()).encode(env),
        Err(why) => (atoms::error(), why).encode(env),
    }
}

/// Reads the URL of a proxy: `ok`, or `{error, Why}`.
#[rustler::nif]
fn client_proxy<'a>(env: Env<'a>, url: &str) -> Term<'a> {
    match Proxy::parse(url) {
        Ok(_) => atoms::ok().encode(env),
        Err(why) => (atoms::error(), why).encode(env),
    }
}

/// Whether this can be the value of a header `Host`.
#[rustler::nif]
fn client_host(host: Binary<'_>) -> bool {
    names_a_host(host.as_slice())
}

/// Reads files, where it is to trust whom the system trusts.
#[rustler::nif(schedule = "DirtyIo")]
fn client_open<'a>(env: Env<'a>, config: Term<'a>) -> NifResult<Term<'a>> {
    let map = tree(config);
    let mut settings = Settings::read(env, &map)?;
    let dial_map = map.get("dial").map_err(bad_arg)?;
    let mut dial = dial(dial_map).map_err(bad_arg)?;
    if dial.url.tls || dial.redirects > 0 {
        let tls = dial_map.get("tls").and_then(client_tls);
        match ClientTls::new(&tls.map_err(bad_arg)?) {
            Ok(tls) => dial.tls = Some(tls),
            Err(why) => return Ok(settings::tls::refused(env, &why)),
        }
    }
    settings.engine.dial = Some(Arc::new(dial));
    settings.engine.tag |= CLIENT_TAG;
    let Some(engine) = running::engine() else {
        return Ok((atoms::error(), atoms::not_running()).encode(env));
    };
    let pid = running::caller(env);
    let host = settings.host(pid, &engine);
    let client = match engine.client(settings.engine, host) {
        Ok(client) => client,
        Err(e) => return Ok(errno(env, &e)),
    };
    let watched = Watched::Server {
        server: client.clone(),
        engine: Arc::downgrade(&engine),
    };
    if monitor::watch(Some(env), &pid, watched).is_none() {
        engine.stop_server(&client, 1001, "client stopped");
    }
    Ok((atoms::ok(), client.id()).encode(env))
}

/// The caller gets `{sockeye_dialled, Id, {ok, Conn} | {error, Reason}}`.
#[rustler::nif]
fn client_dial<'a>(env: Env<'a>, client: u64) -> NifResult<Term<'a>> {
    let (engine, client) = running::server(client).ok_or(Error::BadArg)?;
    if engine.dial(&client) {
        Ok(atoms::ok().encode(env))
    } else {
        Err(Error::BadArg)
    }
}

/// The connection of a client, or `none`.
#[rustler::nif]
fn client_conn<'a>(env: Env<'a>, client: u64) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let conn = running::server(client).and_then(|(_, client)| client.client_conn());
    Ok(match conn {
        Some(conn) => b.term(env, b.conn(conn)),
        None => atoms::none().encode(env),
    })
}
