//! The calls of clients.

use std::sync::Arc;

use rustler::types::atom::Atom;
use rustler::{Binary, Encoder, Env, Error, NifResult, Term};
use sockeye_engine::{ClientTls, ClientTlsSettings, Dial, Pin, Proxy, Url};
use sockeye_protocol::handshake::names_a_host;

use crate::frames::CLIENT_TAG;
use crate::settings::config::{self, Settings};
use crate::terms::Builder;
use crate::terms::errno::errno;
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
    let mut settings = Settings::decode(config)?;
    let dial_map = config.map_get(atoms::dial())?;
    let mut dial = dial(dial_map)?;
    if dial.url.tls || dial.redirects > 0 {
        match ClientTls::new(&tls(dial_map.map_get(atoms::tls())?)?) {
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
        Err(e) => return Ok((atoms::error(), errno(&e)).encode(env)),
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

fn dial(map: Term<'_>) -> NifResult<Dial> {
    let url: &str = map.map_get(atoms::url())?.decode()?;
    let url = Url::parse(url).map_err(|_| Error::BadArg)?;
    let mut dial = Dial::new(url);
    dial.connect_timeout = config::time(map.map_get(atoms::connect_timeout())?)?;
    dial.headers = map.map_get(atoms::headers())?.decode()?;
    let host = map.map_get(atoms::host())?;
    if !host.is_atom() {
        dial.host = Some(host.decode()?);
    }
    dial.redirects = map.map_get(atoms::redirects())?.decode()?;
    let proxy = map.map_get(atoms::proxy())?;
    if !proxy.is_atom() {
        let proxy = Proxy::parse(proxy.decode()?);
        dial.proxy = Some(proxy.map_err(|_| Error::BadArg)?);
    }
    Ok(dial)
}

fn tls(map: Term<'_>) -> NifResult<ClientTlsSettings> {
    let get = |key: Atom| map.map_get(key);
    let optional = |key: Atom| -> NifResult<Option<Term<'_>>> {
        let value = get(key)?;
        Ok((value.as_c_arg() != atoms::undefined().as_c_arg()).then_some(value))
    };
    let text = |term: Term<'_>| -> NifResult<Vec<u8>> {
        Ok(term.decode::<Binary<'_>>()?.as_slice().to_vec())
    };
    let pins: Vec<(Atom, Binary<'_>)> = get(atoms::pin())?.decode()?;
    let pin = |(kind, hash): (Atom, Binary<'_>)| {
        let hash = hash.as_slice().try_into().map_err(|_| Error::BadArg)?;
        Ok(if kind == atoms::cert() {
            Pin::Certificate(hash)
        } else {
            Pin::Key(hash)
        })
    };
    let versions: Vec<Atom> = get(atoms::versions())?.decode()?;
    let mut settings = ClientTlsSettings {
        verify: get(atoms::verify())?.as_c_arg() != atoms::none().as_c_arg(),
        authorities: optional(atoms::cacertfile())?.map(text).transpose()?,
        pins: pins.into_iter().map(pin).collect::<NifResult<_>>()?,
        identity: optional(atoms::identity())?
            .map(settings::tls::identity)
            .transpose()?,
        tls12: versions.contains(&atoms::tlsv1_2()),
        tls13: versions.contains(&atoms::tlsv1_3()),
        ..ClientTlsSettings::default()
    };
    match optional(atoms::sni())? {
        Some(name) if name.is_atom() => settings.sni = false,
        name => settings.name = name.map(|name| name.decode()).transpose()?,
    }
    Ok(settings)
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
