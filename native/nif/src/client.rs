//! The calls of clients, and what a client process is told.

use std::io;
use std::sync::Arc;

use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use rustler::{Binary, Encoder, Env, Error, NifResult, Term};
use sockeye_engine::host::ServerHost;
use sockeye_engine::{
    ClientTls, ClientTlsSettings, ConnId, Dial, DialError, Disconnected, Pin, Proxy, ProxyError,
    RedirectError, Refused, TlsFault, Url,
};
use sockeye_protocol::handshake::HandshakeError;
use sockeye_protocol::handshake::client::Breach;

use crate::config::Settings;
use crate::control::{errno, errno_of};
use crate::outbound::CLIENT_TAG;
use crate::owner::{Host, HostRef};
use crate::terms::{Builder, map};
use crate::watch::{self, Watched};
use crate::{atoms, process, running};

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

/// Reads files, where it is to trust whom the system trusts.
#[rustler::nif(schedule = "DirtyIo")]
fn client_open<'a>(env: Env<'a>, config: Term<'a>) -> NifResult<Term<'a>> {
    let mut settings = Settings::decode(config)?;
    let dial_map = config.map_get(atoms::dial())?;
    let mut dial = dial(dial_map)?;
    if dial.url.tls || dial.redirects > 0 {
        match ClientTls::new(&tls(dial_map.map_get(atoms::tls())?)?) {
            Ok(tls) => dial.tls = Some(tls),
            Err(why) => return Ok(crate::tls::refused(env, &why)),
        }
    }
    settings.engine.dial = Some(Arc::new(dial));
    settings.engine.tag |= CLIENT_TAG;
    let Some(engine) = running::engine() else {
        return Ok((atoms::error(), atoms::not_running()).encode(env));
    };
    let pid = running::caller(env);
    let format = Arc::new(settings.format);
    let owner = (settings.owner, settings.batch);
    let room = settings.engine.inbox_size;
    let host = |id| -> Box<dyn ServerHost> {
        let host = Arc::new(Host::new(pid, owner, format, room, id, &engine));
        watch::remember_host(id, &host);
        Box::new(HostRef(host))
    };
    let client = match engine.client(settings.engine, host) {
        Ok(client) => client,
        Err(e) => return Ok((atoms::error(), errno(&e)).encode(env)),
    };
    let watched = Watched::Server {
        server: client.clone(),
        engine: Arc::downgrade(&engine),
    };
    if watch::watch(Some(env), &pid, watched).is_none() {
        engine.stop_server(&client, 1001, "client stopped");
    }
    Ok((atoms::ok(), client.id()).encode(env))
}

fn dial(map: Term<'_>) -> NifResult<Dial> {
    let url: &str = map.map_get(atoms::url())?.decode()?;
    let url = Url::parse(url).map_err(|_| Error::BadArg)?;
    let mut dial = Dial::new(url);
    let millis: u64 = map.map_get(atoms::connect_timeout())?.decode()?;
    dial.connect_timeout = std::time::Duration::from_millis(millis);
    dial.headers = map.map_get(atoms::headers())?.decode()?;
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
            .map(crate::tls::identity)
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

pub(crate) fn dialled(host: &Host, id: u64, result: Result<ConnId, DialError>) {
    process::send(&host.pid, |b| {
        let result = match result {
            Ok(conn) => b.tuple([b.atom(atoms::ok()), b.conn(conn)]),
            Err(e) => b.tuple([b.atom(atoms::error()), reason(b, &e)]),
        };
        let tag = b.atom(atoms::sockeye_dialled());
        b.tuple([tag, b.integer(id), result])
    });
}

pub(crate) fn disconnected(host: &Host, id: u64, conn: ConnId, end: &Disconnected) {
    process::send(&host.pid, |b| {
        let asked = if end.asked {
            atoms::true_()
        } else {
            atoms::false_()
        };
        let code = b.integer(end.code.into());
        let end = b.tuple([code, b.binary(end.reason.as_bytes()), b.atom(asked)]);
        let tag = b.atom(atoms::sockeye_parted());
        b.tuple([tag, b.integer(id), b.conn(conn), end])
    });
}

/// The reason, as the table of errors in the manual has it.
fn reason(b: Builder, error: &DialError) -> ErlNifTerm {
    let told = |tag, text: &str| b.tuple([b.atom(tag), b.binary(text.as_bytes())]);
    match error {
        DialError::Timeout => b.atom(atoms::timeout()),
        DialError::NoHost => b.atom(atoms::nxdomain()),
        DialError::Io(kind, code) => b.atom(errno_of(*kind, *code)),
        DialError::Closed | DialError::Stopped => b.atom(atoms::closed()),
        DialError::Tls(fault, why) => {
            let why = b.tuple([b.atom(tls_fault(*fault)), b.binary(why.as_bytes())]);
            b.tuple([b.atom(atoms::tls()), why])
        }
        DialError::Proxy(why) => b.tuple([b.atom(atoms::proxy()), b.atom(proxy_error(*why))]),
        DialError::ProxyRefused(answer) => {
            let answer = b.tuple([b.atom(atoms::refused()), refused(b, answer)]);
            b.tuple([b.atom(atoms::proxy()), answer])
        }
        DialError::Refused(answer) => b.tuple([b.atom(atoms::refused()), refused(b, answer)]),
        DialError::Handshake(HandshakeError::BadOption(what)) => told(atoms::bad_request(), what),
        DialError::Handshake(why) => {
            let why = b.atom(breach(why));
            b.tuple([b.atom(atoms::bad_handshake()), why])
        }
        DialError::Redirect(why) => {
            let why = match why {
                RedirectError::TooMany => atoms::too_many(),
                RedirectError::Insecure => atoms::insecure(),
                _ => atoms::bad_location(),
            };
            b.tuple([b.atom(atoms::redirect()), b.atom(why)])
        }
        _ => b.atom(io_unknown()),
    }
}

/// What is wrong with an answer.
fn breach(error: &HandshakeError) -> Atom {
    match error {
        HandshakeError::TooLarge => atoms::too_large(),
        HandshakeError::Invalid(Breach::Upgrade) => atoms::upgrade(),
        HandshakeError::Invalid(Breach::Connection) => atoms::connection(),
        HandshakeError::Invalid(Breach::Accept) => atoms::accept(),
        HandshakeError::Invalid(Breach::Subprotocol) => atoms::subprotocol(),
        HandshakeError::Invalid(Breach::Extension(_)) => atoms::extension(),
        _ => atoms::malformed(),
    }
}

fn tls_fault(fault: TlsFault) -> Atom {
    match fault {
        TlsFault::UnknownCa => atoms::unknown_ca(),
        TlsFault::BadHost => atoms::bad_host(),
        TlsFault::Expired => atoms::expired(),
        TlsFault::NotYetValid => atoms::not_yet_valid(),
        TlsFault::Revoked => atoms::revoked(),
        TlsFault::Pin => atoms::pin(),
        TlsFault::Certificate => atoms::bad_certificate(),
        TlsFault::Alert => atoms::alert(),
        TlsFault::NotTls => atoms::not_tls(),
        _ => atoms::failure(),
    }
}

fn proxy_error(error: ProxyError) -> Atom {
    match error {
        ProxyError::Denied => atoms::denied(),
        ProxyError::Failure => atoms::failure(),
        ProxyError::NotAllowed => atoms::not_allowed(),
        ProxyError::Unreachable => atoms::ehostunreach(),
        ProxyError::Refused => atoms::econnrefused(),
        _ => atoms::malformed(),
    }
}

fn io_unknown() -> Atom {
    errno_of(io::ErrorKind::Other, None)
}

fn refused(b: Builder, answer: &Refused) -> ErlNifTerm {
    let headers = answer.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| b.tuple([b.binary(name.as_bytes()), b.binary(value)]))
        .collect();
    map(
        b,
        &[
            (b.atom(atoms::status()), b.integer(answer.status.into())),
            (b.atom(atoms::headers()), b.list(&headers)),
            (b.atom(atoms::body()), b.binary(&answer.body)),
        ],
    )
}
