//! The configuration of a server, out of the map that `sockeye_options` has checked.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustler::types::atom::Atom;
use rustler::{Binary, Decoder, Error, LocalPid, NifResult, Term};
use sockeye_engine::host::ServerHost;
use sockeye_engine::options::NEVER;
use sockeye_engine::tls::TlsSettings;
use sockeye_engine::{
    Active, Address, ConnectionRate, Engine, MessageRate, Mode, Routes, ServerConfig, Target,
};
use sockeye_json::Null;
use sockeye_protocol::Limits;
use sockeye_protocol::handshake::{Origins, Paths};
use sockeye_protocol::networks::Networks;

use crate::frames::tag_of;
use crate::json::decode::{JsonOptions, KeyMode};
use crate::server::events::EventFormat;
use crate::server::host::VmHost;
use crate::server::registry;
use crate::server::vm_server::{OwnerSpec, VmServer};
use crate::settings::{deflate, tls};
use crate::{atoms, terms};

/// All of it.
pub(crate) struct Settings {
    pub(crate) engine: ServerConfig,
    format: Arc<EventFormat>,
    owner: OwnerSpec,
    batch: bool,
    pub(crate) tls: Option<TlsSettings>,
}

pub(crate) fn get<'a, T: Decoder<'a>>(map: Term<'a>, key: Atom) -> NifResult<T> {
    map.map_get(key)?.decode()
}

fn routes(list: Vec<(Term<'_>, Term<'_>)>) -> NifResult<Routes> {
    let routes = list.into_iter().map(|(path, target)| {
        let path: String = path.decode()?;
        let target = if is(target, atoms::ask()) {
            Target::Ask
        } else if is(target, atoms::health()) {
            Target::Health
        } else if is(target, atoms::metrics()) {
            Target::Metrics
        } else {
            let (kind, value): (Atom, Term<'_>) = target.decode()?;
            if kind == atoms::text() {
                Target::Text(rustler::Binary::from_term(value)?.as_slice().to_vec())
            } else if kind == atoms::file() {
                Target::File(value.decode::<String>()?.into())
            } else if kind == atoms::dir() {
                Target::Dir(value.decode::<String>()?.into())
            } else {
                return Err(Error::BadArg);
            }
        };
        Ok((path, target))
    });
    Routes::new(routes.collect::<NifResult<_>>()?).map_err(|_| Error::BadArg)
}

/// A list of texts; none for `any`.
fn list(map: Term<'_>, key: Atom) -> NifResult<Option<Vec<String>>> {
    let value: Term<'_> = get(map, key)?;
    if is(value, atoms::any()) {
        return Ok(None);
    }
    value.decode().map(Some)
}

pub(crate) fn is(term: Term<'_>, atom: Atom) -> bool {
    term.as_c_arg() == atom.as_c_arg()
}

fn limit(map: Term<'_>, key: Atom) -> NifResult<Duration> {
    time(map.map_get(key)?)
}

/// Milliseconds, or `infinity`.
pub(crate) fn time(term: Term<'_>) -> NifResult<Duration> {
    if is(term, atoms::infinity()) {
        Ok(NEVER)
    } else {
        Ok(Duration::from_millis(term.decode()?))
    }
}

fn message_rate(term: Term<'_>) -> NifResult<Option<MessageRate>> {
    if is(term, atoms::infinity()) {
        return Ok(None);
    }
    Ok(Some(MessageRate {
        rate: get(term, atoms::rate())?,
        burst: get(term, atoms::burst())?,
        close: is(get(term, atoms::action())?, atoms::close()),
    }))
}

impl Settings {
    pub(crate) fn decode(map: Term<'_>) -> NifResult<Self> {
        let address = address(get(map, atoms::ip())?, get(map, atoms::port())?)?;
        let (mode, owner, batch) = mode(get(map, atoms::mode())?)?;
        let mut limits = Limits::default();
        limits.max_message_size = get(map, atoms::max_message_size())?;
        limits.max_frame_size = get(map, atoms::max_frame_size())?;
        limits.max_fragments = get(map, atoms::max_fragments())?;
        let null = null(get(map, atoms::null())?)?;
        let mut engine = ServerConfig::new(address, mode);
        engine.reuse_port = get(map, atoms::reuseport())?;
        let http2: Atom = get(map, atoms::http2())?;
        engine.http2_cleartext = http2 == atoms::cleartext();
        engine.proxy_protocol = get(map, atoms::proxy_protocol())?;
        engine.trusted_proxies = networks(get(map, atoms::trusted_proxies())?)?;
        engine.backlog = get(map, atoms::backlog())?;
        engine.active = active(get(map, atoms::active())?)?;
        engine.limits = limits;
        engine.inbox_size = get(map, atoms::inbox_size())?;
        engine.send_queue_size = get(map, atoms::send_queue_size())?;
        engine.send_timeout = limit(map, atoms::send_timeout())?;
        engine.handshake_timeout = limit(map, atoms::handshake_timeout())?;
        engine.close_timeout = limit(map, atoms::close_timeout())?;
        engine.idle_timeout = limit(map, atoms::idle_timeout())?;
        engine.ping_interval = limit(map, atoms::ping_interval())?;
        engine.pong_timeout = limit(map, atoms::pong_timeout())?;
        engine.max_age = limit(map, atoms::max_age())?;
        engine.message_rate = message_rate(get(map, atoms::message_rate())?)?;
        engine.control_frames = get(map, atoms::control_frames())?;
        let most: Term<'_> = get(map, atoms::max_connections())?;
        engine.max_connections = if is(most, atoms::infinity()) {
            usize::MAX
        } else {
            most.decode()?
        };
        let most: Term<'_> = get(map, atoms::max_descriptor())?;
        if !is(most, atoms::infinity()) {
            engine.max_descriptor = most.decode()?;
        }
        let most: Term<'_> = get(map, atoms::max_connections_per_address())?;
        if !is(most, atoms::infinity()) {
            engine.max_connections_per_address = most.decode()?;
        }
        let rate: Term<'_> = get(map, atoms::connection_rate())?;
        if !is(rate, atoms::infinity()) {
            engine.connection_rate = Some(ConnectionRate {
                per_second: get(rate, atoms::rate())?,
                burst: get(rate, atoms::burst())?,
            });
        }
        engine.subprotocols = get(map, atoms::subprotocols())?;
        engine.head_limits.max_head_size = get(map, atoms::max_header_size())?;
        engine.head_limits.max_headers = get(map, atoms::max_headers())?;
        if let Some(rules) = list(map, atoms::origins())? {
            let rules = Origins::new(rules.iter().map(String::as_str));
            engine.origins = rules.map_err(|_| Error::BadArg)?;
        }
        if let Some(patterns) = list(map, atoms::paths())? {
            let patterns = Paths::new(patterns.iter().map(String::as_str));
            engine.paths = patterns.map_err(|_| Error::BadArg)?;
        }
        engine.routes = routes(get(map, atoms::routes())?)?;
        engine.max_body_size = get(map, atoms::max_body_size())?;
        engine.max_subscriptions = get(map, atoms::max_subscriptions())?;
        engine.close_slow = get::<Atom>(map, atoms::slow_subscriber())? == atoms::close();
        engine.asks = get(map, atoms::asks())?;
        engine.accept_timeout = limit(map, atoms::accept_timeout())?;
        engine.deflate = deflate::policy(get(map, atoms::deflate())?)?;
        engine.tag = tag_of(null);
        let json = JsonOptions {
            null,
            max_depth: get(map, atoms::max_depth())?,
            keys: keys(get(map, atoms::keys())?)?,
        };
        let raw = is(get(map, atoms::format())?, atoms::raw());
        let format = EventFormat {
            json: (!raw).then_some(json),
            deliver_invalid: is(get(map, atoms::on_invalid_json())?, atoms::deliver()),
        };
        Ok(Settings {
            engine,
            format: Arc::new(format),
            owner,
            batch,
            tls: tls::decode(get(map, atoms::tls())?)?,
        })
    }
}

impl Settings {
    /// What the engine calls with the id that a server gets.
    pub(crate) fn host(
        &self,
        pid: LocalPid,
        engine: &Arc<Engine>,
    ) -> impl FnOnce(u64) -> Box<dyn ServerHost> + use<> {
        let (owner, format) = ((self.owner.clone(), self.batch), self.format.clone());
        let (room, engine) = (self.engine.inbox_size, engine.clone());
        move |id| {
            let host = Arc::new(VmServer::new(pid, owner, format, room, id, &engine));
            registry::register(id, &host);
            Box::new(VmHost(host))
        }
    }
}

/// Whether a text is a rule of the option `origins`.
#[rustler::nif]
fn origin_rule(text: Binary<'_>) -> bool {
    str::from_utf8(text.as_slice()).is_ok_and(|rule| Origins::new([rule]).is_ok())
}

fn address(term: Term<'_>, port: u16) -> NifResult<Address> {
    if let Ok((tag, path)) = term.decode::<(Atom, Binary<'_>)>() {
        let valid = tag == atoms::local();
        return valid
            .then(|| Address::Unix(path.as_slice().into()))
            .ok_or(Error::BadArg);
    }
    if let Ok((tag, address, zone)) = term.decode::<(Atom, Term<'_>, String)>() {
        return match ip(address)? {
            IpAddr::V6(ip) if tag == atoms::zone() => Ok(Address::Zoned(ip, zone, port)),
            _ => Err(Error::BadArg),
        };
    }
    Ok(SocketAddr::new(ip(term)?, port).into())
}

fn networks(list: Vec<(Term<'_>, u8)>) -> NifResult<Networks> {
    let mut networks = Networks::new();
    for (address, prefix) in list {
        if !networks.add(ip(address)?, prefix) {
            return Err(Error::BadArg);
        }
    }
    Ok(networks)
}

fn ip(term: Term<'_>) -> NifResult<IpAddr> {
    if let Ok((a, b, c, d)) = term.decode::<(u8, u8, u8, u8)>() {
        return Ok(Ipv4Addr::new(a, b, c, d).into());
    }
    let elements = rustler::types::tuple::get_tuple(term)?;
    let segments: Vec<u16> = elements
        .iter()
        .map(|e| e.decode())
        .collect::<NifResult<_>>()?;
    let segments: [u16; 8] = segments.try_into().map_err(|_| Error::BadArg)?;
    Ok(Ipv6Addr::from(segments).into())
}

fn mode(term: Term<'_>) -> NifResult<(Mode, OwnerSpec, bool)> {
    if is(term, atoms::per_connection()) {
        return Ok((Mode::PerConnection, OwnerSpec::Nobody, false));
    }
    if let Ok((tag, n)) = term.decode::<(Atom, usize)>() {
        let valid = tag == atoms::workers() && n > 0;
        return valid
            .then_some((Mode::Workers(n), OwnerSpec::Nobody, false))
            .ok_or(Error::BadArg);
    }
    let (tag, owner, batch): (Atom, Term<'_>, bool) = term.decode()?;
    if tag != atoms::owner() {
        return Err(Error::BadArg);
    }
    let spec = match owner.decode::<LocalPid>() {
        Ok(pid) => OwnerSpec::Pid(pid),
        Err(_) => OwnerSpec::Name(owner.decode()?),
    };
    Ok((Mode::Owner, spec, batch))
}

pub(crate) fn active(term: Term<'_>) -> NifResult<Active> {
    Ok(if is(term, atoms::true_()) {
        Active::True
    } else if is(term, atoms::false_()) {
        Active::False
    } else if is(term, atoms::once()) {
        Active::Once
    } else {
        Active::Count(term.decode()?)
    })
}

pub(crate) fn null(term: Term<'_>) -> NifResult<Null> {
    if is(term, atoms::null()) {
        Ok(Null::Null)
    } else if is(term, atoms::undefined()) {
        Ok(Null::Undefined)
    } else if is(term, atoms::nil()) {
        Ok(Null::Nil)
    } else {
        Err(Error::BadArg)
    }
}

pub(crate) fn keys(term: Term<'_>) -> NifResult<KeyMode> {
    if is(term, atoms::binary()) {
        return Ok(KeyMode::Binary);
    }
    if is(term, atoms::existing_atom()) {
        return Ok(KeyMode::ExistingAtom);
    }
    let (tag, names): (Atom, Term<'_>) = term.decode()?;
    if tag != atoms::atoms() {
        return Err(Error::BadArg);
    }
    let names = terms::list(names)?;
    let names = names
        .iter()
        .map(|name| name.atom_to_string().map(String::into_boxed_str));
    Ok(KeyMode::Listed(names.collect::<NifResult<HashSet<_>>>()?))
}
