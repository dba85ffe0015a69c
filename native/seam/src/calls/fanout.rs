//! One frame for many connections.

use std::sync::Arc;

use sockeye_engine::{
    Broadcast, CallKind, ConnId, DeliveryCountReply, Engine, SendError, Server, ShardSet, topics,
};

use crate::atoms::Atom;
use crate::frames::{
    self, Appended, Bounds, FrameError, FrameFormat, NORMAL_PAYLOAD, SendFailure, broadcast, range,
};
use crate::read::Reader;
use crate::settings::CLIENT_TAG;
use crate::value::{BadArg, Read};

/// Connections of a list that one call on a normal scheduler takes.
const LIST: usize = 512;

/// To all connections of a server, or to the subscribers of a topic.
#[derive(Clone, Copy, Debug)]
pub enum FanoutTarget<'a> {
    /// All.
    All,
    /// These.
    Topic(&'a [u8]),
}

impl<'a> FanoutTarget<'a> {
    /// `all`, or a topic.
    ///
    /// # Errors
    /// It is neither.
    pub fn of<R: Reader<'a>>(r: R, term: R::Term) -> Read<Self> {
        if r.is(term, Atom::all) {
            return Ok(FanoutTarget::All);
        }
        let name = r.bytes(term).filter(|name| topics::is_plain(name));
        name.map(FanoutTarget::Topic).ok_or(BadArg)
    }
}

/// To whom a frame goes, and the one connection that does not get it.
pub type Recipients<'a> = (FanoutTarget<'a>, Option<ConnId>);

/// `all` or a topic, and a connection or `none`.
///
/// # Errors
/// They are something else.
pub fn recipients<'a, R: Reader<'a>>(r: R, to: R::Term, except: R::Term) -> Read<Recipients<'a>> {
    let except = match r.is(except, Atom::none) {
        true => None,
        false => Some(r.conn(except).ok_or(BadArg)?),
    };
    Ok((FanoutTarget::of(r, to)?, except))
}

/// The bytes of a frame, and whether it must stay uncompressed.
pub type Encoded = (Vec<u8>, bool);

/// Encodes a frame for the connections of a server.
///
/// # Errors
/// It is none for many.
pub fn encode_for<'a, R: Reader<'a>>(
    r: R,
    server: &Server,
    frame: R::Term,
    bounds: Bounds,
) -> Result<Encoded, SendFailure<R::Term>> {
    let mut bytes = Vec::with_capacity(256);
    let format = FrameFormat::of(server.config.tag);
    let frame = frames::parse(r, frame).ok_or(FrameError::BadArg)?;
    let plain = match frames::append(r, frame, format, bounds, &mut bytes)? {
        Appended::Frame => false,
        Appended::Plain => true,
        Appended::Close(..) | Appended::Active(_) | Appended::Stream(..) => {
            return Err(SendFailure::BadArg);
        }
    };
    range(0, bytes.len()).ok_or(SendFailure::BadArg)?;
    Ok((bytes, plain))
}

/// Hands a frame to all that are meant, and tells which shards have been given something.
///
/// # Errors
/// The server stops, or the frame is too large.
pub fn spread<T>(
    engine: &Engine,
    server: &Arc<Server>,
    (target, except): Recipients<'_>,
    (bytes, plain): Encoded,
    outcome: Option<DeliveryCountReply>,
    bounds: Bounds,
) -> Result<ShardSet, SendFailure<T>> {
    range(0, bytes.len()).ok_or(SendFailure::BadArg)?;
    let frame = broadcast(server, bytes, plain, bounds)?;
    let result = match target {
        FanoutTarget::All => engine.fan_out(server, &frame, except, outcome),
        FanoutTarget::Topic(name) => engine.publish(server, name, &frame, except, outcome),
    };
    result.map_err(SendFailure::Send)
}

/// What came of a list: who did not get the frame, the shards that the caller is to wait for, bytes of work and connections.
pub type Sent = (Vec<(ConnId, SendError)>, ShardSet, usize, usize);

/// Sends a frame to a list of connections. It is encoded once for all connections of a server.
///
/// # Errors
/// Nothing has been sent.
pub fn send_list<'a, R: Reader<'a>>(
    r: R,
    engine: &Engine,
    conns: R::Term,
    frame: R::Term,
    bounds: Bounds,
) -> Result<Sent, SendFailure<R::Term>> {
    let mut groups: Vec<(u32, Vec<ConnId>)> = Vec::new();
    let mut refused: Vec<(ConnId, SendError)> = Vec::new();
    let (mut rest, mut count) = (conns, 0);
    while let Some((head, tail)) = r.cell(rest) {
        let conn = r.conn(head).ok_or(SendFailure::BadArg)?;
        match engine.label_of(conn) {
            // Frames of a client are masked, each in its own way.
            Some(label) if label.tag & CLIENT_TAG != 0 => return Err(SendFailure::BadArg),
            Some(label) => match groups
                .iter_mut()
                .find(|(server, _)| *server == label.server)
            {
                Some((_, group)) => group.push(conn),
                None => groups.push((label.server, vec![conn])),
            },
            None => refused.push((conn, SendError::Closed)),
        }
        rest = tail;
        count += 1;
        if count > LIST && bounds.are_normal() {
            return Err(SendFailure::Dirty);
        }
    }
    if !r.is_nil(rest) {
        return Err(SendFailure::BadArg);
    }
    // Before anything is sent.
    let mut ready: Vec<(Arc<Server>, Broadcast, Vec<ConnId>)> = Vec::new();
    let mut work = 0;
    for (number, group) in groups {
        // It is encoded for each server anew.
        if work > NORMAL_PAYLOAD && bounds.are_normal() {
            return Err(SendFailure::Dirty);
        }
        let Some(server) = engine.server(number) else {
            refused.extend(group.into_iter().map(|conn| (conn, SendError::Closed)));
            continue;
        };
        let (bytes, plain) = encode_for(r, &server, frame, bounds)?;
        work += bytes.len();
        let made = broadcast(&server, bytes, plain, bounds)?;
        ready.push((server, made, group));
    }
    let mut shards = ShardSet::default();
    for (server, frame, group) in ready {
        group.iter().for_each(|conn| shards.insert(conn.shard()));
        refused.extend(engine.send_to_list(&server, &frame, &group));
    }
    let crowded = engine.backlogged(shards, CallKind::Fanout);
    Ok((refused, crowded, work, count))
}
