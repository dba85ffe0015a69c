//! Carries out the sections that the VM sends.

pub(crate) mod gathered;
mod publishing;
pub(crate) mod serve;

use std::sync::Arc;

use sockeye_engine::{ConnId, SendError};
use sockeye_etf::Cursor;
use sockeye_seam::frames::SendFailure;
use sockeye_seam::{Atom, EtfReader, EtfTerm, Writer, calls as seam};

use crate::calls;
use crate::link::kinds::{CALL, CAST, COMMANDS, DOWN, FRAME, PING, PONG, PUBLISH};
use crate::link::packets::Broken;
use crate::link::reply_to::ReplyTo;
use crate::on_last_drop::OnLastDrop;
use crate::processes::Watched;
use crate::sections::gathered::Gathered;
use crate::server::port::Port;

fn be64(body: &[u8]) -> Result<(u64, &[u8]), Broken> {
    let (head, rest) = body
        .split_first_chunk()
        .ok_or(Broken("a section is too short"))?;
    Ok((u64::from_be_bytes(*head), rest))
}

/// The term of a section: all of it, and nothing more.
fn whole(bytes: &[u8]) -> Result<Cursor<'_>, Broken> {
    let malformed = |_| Broken("a section has no term");
    let start = Cursor::of_term(bytes).map_err(malformed)?;
    let mut end = start;
    end.term().map_err(malformed)?;
    match end.is_at_end() {
        true => Ok(start),
        false => Err(Broken("a section has more than a term")),
    }
}

/// What stands in front of commands, and their terms.
fn commands_of(bytes: &[u8]) -> Result<(&[u8], EtfTerm<'_>), Broken> {
    let short = Broken("commands are too short");
    let (len, rest) = bytes.split_first_chunk().ok_or(short)?;
    let len = u32::from_be_bytes(*len) as usize;
    let (heads, list) = rest.split_at_checked(len).ok_or(short)?;
    let list = Cursor::of_term(list).map_err(|_| short)?;
    Ok((heads, EtfTerm::new(list)))
}

/// What a section asks for. Commands and messages wait for others that come with them.
pub(crate) fn carry_out(
    port: &Arc<Port>,
    kind: u8,
    body: &[u8],
    gathered: &mut Gathered,
) -> Result<(), Broken> {
    if !matches!(kind, FRAME | COMMANDS) {
        gathered.hand_over(port);
    }
    match kind {
        FRAME => taken(port, body, gathered),
        CALL => {
            let (len, rest) = body
                .split_first_chunk()
                .ok_or(Broken("a call is too short"))?;
            let len = usize::from(u16::from_be_bytes(*len));
            let (from, rest) = rest
                .split_at_checked(len)
                .ok_or(Broken("a call is too short"))?;
            let reply_to = ReplyTo::new(&port.link, Some(from.into()));
            calls::carry_out(port, reply_to, whole(rest)?)
        }
        CAST => calls::carry_out(port, ReplyTo::new(&port.link, None), whole(body)?),
        COMMANDS => commands(port, body, gathered),
        DOWN => {
            let (id, _) = be64(body)?;
            down(port, id);
            Ok(())
        }
        PUBLISH => {
            let (id, what) = be64(body)?;
            let shards = publishing::publish(port, id, EtfTerm::new(whole(what)?))?;
            gathered.published(shards);
            Ok(())
        }
        PING => {
            let (n, _) = be64(body)?;
            ping(port, n);
            Ok(())
        }
        _ => Err(Broken("a section of no known kind")),
    }
}

/// A message that was taken before.
fn taken(port: &Port, body: &[u8], gathered: &mut Gathered) -> Result<(), Broken> {
    let (conn, message) = be64(body)?;
    let conn = ConnId::from_u64(conn).ok_or(Broken("a message for no connection"))?;
    let message = EtfTerm::new(whole(message)?);
    let Some(engine) = port.engine() else {
        return Ok(());
    };
    let reader = EtfReader { caller: 0 };
    match seam::gather_taken(reader, &engine, conn, message, &mut gathered.frames) {
        Ok(()) => Ok(()),
        Err(SendFailure::Send(SendError::Closed)) => {
            port.grants.end(conn);
            Ok(())
        }
        Err(_) => Err(Broken("what was taken is no message")),
    }
}

fn commands(port: &Port, body: &[u8], gathered: &mut Gathered) -> Result<(), Broken> {
    let (id, rest) = be64(body)?;
    let [acknowledged, high, low, list @ ..] = rest else {
        return Err(Broken("commands are too short"));
    };
    let receiver = port.processes.receiver(id);
    if let Some(receiver) = &receiver {
        receiver.set_max(u16::from_be_bytes([*high, *low]));
    }
    if !list.is_empty()
        && let Some(engine) = port.engine()
    {
        let caller = receiver.as_ref().map_or(0, |receiver| receiver.caller);
        let (heads, list) = commands_of(list)?;
        let reader = EtfReader { caller };
        let refused = seam::pairs(reader, &engine, heads, list, &mut gathered.frames)
            .map_err(|_| Broken("commands do not fit their heads"))?;
        if receiver.is_some() && !refused.is_empty() {
            port.link.message(id, |w| {
                w.tuple(2);
                w.atom(Atom::sockeye_failed);
                w.list(refused.len() as u32);
                refused.iter().for_each(|command| command.write(w));
                w.end_list(&[]);
            });
        }
    }
    let (Some(receiver), acknowledged @ 1..) = (receiver, *acknowledged) else {
        return Ok(());
    };
    if !receiver.has_sent(acknowledged) {
        return Err(Broken("more batches are acknowledged than were sent"));
    }
    gathered.acknowledge(receiver, acknowledged);
    Ok(())
}

fn ping(port: &Port, n: u64) {
    let link = port.link.clone();
    let last =
        OnLastDrop::new(move || link.send(PONG, |out| out.extend_from_slice(&n.to_be_bytes())));
    if let Some(engine) = port.engine() {
        engine.call_each(|| {
            let last = last.clone();
            Box::new(move || drop(last))
        });
    }
}

/// A process is dead.
fn down(port: &Port, id: u64) {
    let Some(watched) = port.processes.remove(id) else {
        return;
    };
    let Some(engine) = port.engine() else {
        return;
    };
    match watched {
        Watched::Host(number) => {
            if let Some(server) = port.server(number) {
                engine.stop_server(&server, 1001, "server stopped");
            }
        }
        Watched::Receiver(receiver, server) => engine.inbox_died(&server, &receiver.inbox),
        Watched::Owner(receiver, number) => {
            if let Some(host) = port.host(number) {
                host.forget_owner(id);
            }
            engine.owner_died(&receiver.inbox);
            receiver.give_up();
        }
        Watched::Engine | Watched::Other => {}
    }
}
