//! The configuration of a server, out of the map that `sockeye_options` has checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sockeye_engine::options::NEVER;
use sockeye_engine::tls::TlsSettings;
use sockeye_engine::{
    Active, Address, ConnectionRate, FileRules, MessageRate, Mode, Routes, ServerConfig, Target,
    Upstream,
};
use sockeye_protocol::Limits;
use sockeye_protocol::deflate::Policy;
use sockeye_protocol::handshake::{Origins, Paths};
use sockeye_protocol::networks::Networks;

use crate::frames::tag_of;
use crate::settings::json::{JsonOptions, keys, null, objects};
use crate::settings::tls::tls_settings;
use crate::value::{BadArg, Read, Value};

/// How a server's text frames become terms.
#[derive(Debug)]
pub struct EventFormat {
    /// None: text stays text.
    pub json: Option<JsonOptions>,
    /// What is not JSON is delivered, and does not end the connection.
    pub deliver_invalid: bool,
}

impl EventFormat {
    /// Text is text.
    pub const RAW: EventFormat = EventFormat {
        json: None,
        deliver_invalid: false,
    };
}

/// Who the owner of a server's connections is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner<P> {
    /// Handler processes, not an owner.
    Nobody,
    /// This process.
    Process(P),
    /// The process of this name.
    Name(Box<str>),
}

/// All of it.
pub struct Settings<P> {
    /// For the engine. Its `tls` is what [`Settings::tls`] becomes.
    pub engine: ServerConfig,
    /// How text becomes terms.
    pub format: EventFormat,
    /// Who gets messages.
    pub owner: Owner<P>,
    /// All events of a connection that there are make one message.
    pub batch: bool,
    /// What its TLS is made of.
    pub tls: Option<TlsSettings>,
    /// Of a socket that listens: the number that the host knows it by. The engine's address is what it becomes.
    pub descriptor: Option<u64>,
}

fn routes<P>(list: &[Value<P>]) -> Read<Routes> {
    let routes = list.iter().map(|route| {
        let [path, target] = route.tuple()? else {
            return Err(BadArg);
        };
        let target = if target.is("ask") {
            Target::Ask
        } else if target.is("health") {
            Target::Health
        } else {
            match target.tuple()? {
                [kind, value] if kind.is("text") => Target::Text(value.bytes()?.to_vec()),
                [kind, name, rules] if kind.is("file") => {
                    Target::File(file_name(name)?, file_rules(rules)?)
                }
                [kind, name, rules] if kind.is("dir") => {
                    Target::Dir(file_name(name)?, file_rules(rules)?)
                }
                [kind, value] if kind.is("proxy") => Target::Proxy(Arc::new(upstream(value)?)),
                _ => return Err(BadArg),
            }
        };
        Ok((path.read()?, target))
    });
    Routes::new(routes.collect::<Read<_>>()?).map_err(|_| BadArg)
}

/// The system's bytes, which need not be UTF-8.
#[cfg(unix)]
fn file_name<P>(name: &Value<P>) -> Read<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::OsStr::from_bytes(name.bytes()?).into())
}

#[cfg(not(unix))]
fn file_name<P>(name: &Value<P>) -> Read<PathBuf> {
    Ok(name.read::<String>()?.into())
}

/// How files are sent, out of the map that `sockeye_routes` has checked.
fn file_rules<P>(map: &Value<P>) -> Read<FileRules> {
    let cache_control = map.find("cache_control").map(Value::read::<String>);
    let precompressed = map.find("precompressed").map(Value::read).transpose()?;
    let rules = FileRules::new(
        cache_control.transpose()?.as_deref(),
        precompressed.unwrap_or(false),
    );
    rules.map_err(|_| BadArg)
}

/// A server behind, out of the map that `sockeye_upstream` has checked.
fn upstream<P>(map: &Value<P>) -> Read<Upstream> {
    let get = |key: &str| map.get(key);
    let mut upstream = match get("to")?.tuple()? {
        [kind, name] if kind.is("unix") => Upstream::unix(name.bytes()?),
        [kind, authority] if kind.is("inet") => {
            Upstream::inet(&authority.read::<String>()?).map_err(|_| BadArg)?
        }
        _ => return Err(BadArg),
    };
    upstream.connect_timeout = time(get("connect_timeout")?)?;
    upstream.timeout = time(get("timeout")?)?;
    upstream.idle_timeout = time(get("idle_timeout")?)?;
    upstream.keepalive = time(get("keepalive")?)?;
    upstream.pool_size = map.get_as("pool_size")?;
    upstream.max_requests = bound(get("max_requests")?)?.unwrap_or(usize::MAX);
    upstream.max_body_size = bound(get("max_body_size")?)?.map_or(u64::MAX, |most| most as u64);
    Ok(upstream)
}

/// A list of texts; none for `any`.
fn texts<P>(value: &Value<P>) -> Read<Option<Vec<String>>> {
    if value.is("any") {
        return Ok(None);
    }
    value.read().map(Some)
}

/// `none`, or paths and the id of the server that their WebSockets are of.
fn nested<P>(value: &Value<P>) -> Read<Option<(Paths, u64)>> {
    if value.is("none") {
        return Ok(None);
    }
    let [path, id] = value.tuple()? else {
        return Err(BadArg);
    };
    let path: String = path.read()?;
    let paths = Paths::new([path.as_str()]).map_err(|_| BadArg)?;
    Ok(Some((paths, id.read()?)))
}

/// Milliseconds, or `infinity`.
///
/// # Errors
/// It is neither.
pub fn time<P>(value: &Value<P>) -> Read<Duration> {
    if value.is("infinity") {
        Ok(NEVER)
    } else {
        Ok(Duration::from_millis(value.read()?))
    }
}

/// A number; none for `infinity`.
fn bound<P>(value: &Value<P>) -> Read<Option<usize>> {
    if value.is("infinity") {
        return Ok(None);
    }
    value.read().map(Some)
}

fn message_rate<P>(value: &Value<P>) -> Read<Option<MessageRate>> {
    if value.is("infinity") {
        return Ok(None);
    }
    Ok(Some(MessageRate {
        rate: value.get_as("rate")?,
        burst: value.get_as("burst")?,
        close: value.get("action")?.is("close"),
    }))
}

fn connection_rate<P>(value: &Value<P>) -> Read<Option<ConnectionRate>> {
    if value.is("infinity") {
        return Ok(None);
    }
    Ok(Some(ConnectionRate {
        per_second: value.get_as("rate")?,
        burst: value.get_as("burst")?,
    }))
}

/// What is wanted of permessage-deflate: `false`, or a map with every key.
///
/// # Errors
/// It is neither, or a key is not there.
pub fn deflate_policy<P>(value: &Value<P>) -> Read<Option<Policy>> {
    if value.is("false") {
        return Ok(None);
    }
    let mut policy = Policy::default();
    policy.server_takeover = value.get_as("server_context_takeover")?;
    policy.client_takeover = value.get_as("client_context_takeover")?;
    policy.server_max_window_bits = value.get_as("server_max_window_bits")?;
    policy.client_max_window_bits = value.get_as("client_max_window_bits")?;
    policy.tuning.level = value.get_as("level")?;
    policy.tuning.mem_level = value.get_as("mem_level")?;
    policy.tuning.threshold = value.get_as("threshold")?;
    Ok(Some(policy))
}

impl<P: Clone> Settings<P> {
    /// Reads the map.
    ///
    /// # Errors
    /// A key is not there, or its value is none that `sockeye_options` lets pass.
    pub fn read(map: &Value<P>) -> Read<Self> {
        let get = |key: &str| map.get(key);
        let limit = |key: &str| time(map.get(key)?);
        let (address, descriptor) = address(get("ip")?, map.get_as("port")?)?;
        let (mode, owner, batch) = mode(get("mode")?)?;
        let mut limits = Limits::default();
        limits.max_message_size = map.get_as("max_message_size")?;
        limits.max_frame_size = map.get_as("max_frame_size")?;
        limits.max_fragments = map.get_as("max_fragments")?;
        let null = null(get("null")?)?;
        let mut engine = ServerConfig::new(address, mode);
        engine.reuse_port = map.get_as("reuseport")?;
        engine.http2_cleartext = get("http2")?.is("cleartext");
        engine.proxy_protocol = map.get_as("proxy_protocol")?;
        engine.trusted_proxies = networks(get("trusted_proxies")?.list()?)?;
        engine.backlog = map.get_as("backlog")?;
        engine.active = active(get("active")?)?;
        engine.limits = limits;
        engine.inbox_size = map.get_as("inbox_size")?;
        engine.send_queue_size = map.get_as("send_queue_size")?;
        engine.send_timeout = limit("send_timeout")?;
        engine.handshake_timeout = limit("handshake_timeout")?;
        engine.close_timeout = limit("close_timeout")?;
        engine.idle_timeout = limit("idle_timeout")?;
        engine.ping_interval = limit("ping_interval")?;
        engine.pong_timeout = limit("pong_timeout")?;
        engine.max_age = limit("max_age")?;
        engine.message_rate = message_rate(get("message_rate")?)?;
        engine.control_frames = map.get_as("control_frames")?;
        engine.max_connections = bound(get("max_connections")?)?.unwrap_or(usize::MAX);
        if let Some(most) = bound(get("max_descriptor")?)? {
            engine.max_descriptor = most;
        }
        if let Some(most) = bound(get("max_connections_per_address")?)? {
            engine.max_connections_per_address = most;
        }
        engine.connection_rate = connection_rate(get("connection_rate")?)?;
        engine.subprotocols = map.get_as("subprotocols")?;
        engine.head_limits.max_head_size = map.get_as("max_header_size")?;
        engine.head_limits.max_headers = map.get_as("max_headers")?;
        if let Some(rules) = texts(get("origins")?)? {
            let rules = Origins::new(rules.iter().map(String::as_str));
            engine.origins = rules.map_err(|_| BadArg)?;
        }
        if let Some(patterns) = texts(get("paths")?)? {
            let patterns = Paths::new(patterns.iter().map(String::as_str));
            engine.paths = patterns.map_err(|_| BadArg)?;
        }
        engine.routes = routes(get("routes")?.list()?)?;
        engine.nested = nested(get("nested")?)?;
        engine.max_body_size = map.get_as("max_body_size")?;
        engine.max_bodies_size = map.get_as("max_bodies_size")?;
        engine.max_subscriptions = map.get_as("max_subscriptions")?;
        engine.close_slow = get("slow_subscriber")?.is("close");
        engine.asks = map.get_as("asks")?;
        engine.accept_timeout = limit("accept_timeout")?;
        engine.deflate = deflate_policy(get("deflate")?)?;
        engine.tag = tag_of(null);
        let json = JsonOptions {
            read: sockeye_json::Options {
                null,
                max_depth: map.get_as("max_depth")?,
                objects: objects(get("objects")?)?,
            },
            keys: keys(get("keys")?)?,
            literals: None,
        };
        let raw = get("format")?.is("raw");
        let format = EventFormat {
            json: (!raw).then_some(json),
            deliver_invalid: get("on_invalid_json")?.is("deliver"),
        };
        Ok(Settings {
            engine,
            format,
            owner,
            batch,
            tls: tls_settings(get("tls")?)?,
            descriptor,
        })
    }
}

fn address<P>(value: &Value<P>, port: u16) -> Read<(Address, Option<u64>)> {
    if value.is("none") {
        return Ok((Address::Nowhere, None));
    }
    let address = match value.tuple()? {
        [tag, number] if tag.is("fd") => return Ok((Address::Nowhere, Some(number.read()?))),
        [tag, path] if tag.is("local") => Address::Unix(path.bytes()?.into()),
        [tag, address, zone] if tag.is("zone") => match ip(address)? {
            IpAddr::V6(ip) => Address::Zoned(ip, zone.read()?, port),
            IpAddr::V4(_) => return Err(BadArg),
        },
        _ => SocketAddr::new(ip(value)?, port).into(),
    };
    Ok((address, None))
}

fn networks<P>(list: &[Value<P>]) -> Read<Networks> {
    let mut networks = Networks::new();
    for network in list {
        match network.tuple()? {
            [address, prefix] if networks.add(ip(address)?, prefix.read()?) => {}
            _ => return Err(BadArg),
        }
    }
    Ok(networks)
}

pub(super) fn ip<P>(value: &Value<P>) -> Read<IpAddr> {
    match value.tuple()? {
        [a, b, c, d] => Ok(Ipv4Addr::new(a.read()?, b.read()?, c.read()?, d.read()?).into()),
        elements => {
            let segments = elements.iter().map(Value::read);
            let segments = segments.collect::<Read<Vec<u16>>>()?;
            let segments: [u16; 8] = segments.try_into().map_err(|_| BadArg)?;
            Ok(Ipv6Addr::from(segments).into())
        }
    }
}

fn mode<P: Clone>(value: &Value<P>) -> Read<(Mode, Owner<P>, bool)> {
    if value.is("per_connection") {
        return Ok((Mode::PerConnection, Owner::Nobody, false));
    }
    match value.tuple()? {
        [tag, n] if tag.is("workers") => match n.read()? {
            0 => Err(BadArg),
            n => Ok((Mode::Workers(n), Owner::Nobody, false)),
        },
        [tag, owner, batch] if tag.is("owner") => {
            let owner = match owner {
                Value::Process(process) => Owner::Process(process.clone()),
                name => Owner::Name(name.atom()?.into()),
            };
            Ok((Mode::Owner, owner, batch.read()?))
        }
        _ => Err(BadArg),
    }
}

/// The credits that a connection starts with.
///
/// # Errors
/// It is not `true`, `false`, `once` or a number.
pub fn active<P>(value: &Value<P>) -> Read<Active> {
    Ok(match value {
        Value::Atom(name) => match &**name {
            "true" => Active::True,
            "false" => Active::False,
            "once" => Active::Once,
            _ => return Err(BadArg),
        },
        n => Active::Count(n.read()?),
    })
}
