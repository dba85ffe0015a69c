//! The functions that the VM calls, named and shaped as those of `sockeye_nif`.

mod adopt;
mod client;
mod conns;
mod control;
mod fanout;
mod fault;
mod json;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use sockeye_engine::{ConnId, Server};
use sockeye_etf::{Cursor, Token};
use sockeye_seam::value::{BadArg, Read, Value, read_etf};
use sockeye_seam::{EtfReader, EtfTerm, Reader};

use crate::link::packets::Broken;
use crate::link::reply_to::ReplyTo;
use crate::server::host::Pid;
use crate::server::port::Port;

/// Threads that do what takes long.
pub(crate) const THREAD: &str = "sockeye-call";

/// A call, with what it needs at hand.
pub(crate) struct Call<'a> {
    port: &'a Arc<Port>,
    reply_to: ReplyTo,
    /// The bytes of a pid.
    caller: &'a [u8],
    args: &'a [EtfTerm<'a>],
}

/// Reads a call, and does what it says.
pub(crate) fn carry_out(
    port: &Arc<Port>,
    reply_to: ReplyTo,
    mut term: Cursor<'_>,
) -> Result<(), Broken> {
    let broken = || Broken("a call is no {Caller, Function, Args}");
    let Ok(Token::Tuple(3)) = term.token() else {
        return Err(broken());
    };
    let caller = term.term().map_err(|_| broken())?;
    let Ok(Token::Pid(_)) = Cursor::new(caller).token() else {
        return Err(broken());
    };
    let Ok(Token::Atom(function)) = term.token() else {
        return Err(broken());
    };
    let function = function.text().map_err(|_| broken())?;
    let args = elements(EtfTerm::new(term)).ok_or_else(broken)?;
    let call = Call {
        port,
        reply_to: reply_to.clone(),
        caller,
        args: &args,
    };
    if call.dispatch(&function).is_err() {
        reply_to.raise();
    }
    Ok(())
}

/// Names a process where an order is kept for each.
fn caller(pid: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    pid.hash(&mut hasher);
    hasher.finish()
}

/// Those of a proper list.
pub(crate) fn elements(mut list: EtfTerm<'_>) -> Option<Vec<EtfTerm<'_>>> {
    let reader = EtfReader { caller: 0 };
    let mut elements = Vec::new();
    while let Some((element, rest)) = reader.cell(list) {
        elements.push(element);
        list = rest;
    }
    reader.is_nil(list).then_some(elements)
}

impl<'a> Call<'a> {
    fn dispatch(self, function: &str) -> Read<()> {
        match function {
            "engine_start" => self.engine_start(),
            "engine_stop" => self.engine_stop(),
            "engine_info" => self.engine_info(),
            "listen" => self.listen(),
            "descriptors_open" => self.descriptors_open(),
            "adopt" => self.adopt(),
            "admit" => self.admit(),
            "reload_tls" => self.reload_tls(),
            "server_stop" => self.server_stop(),
            "server_drain" => self.server_drain(),
            "server_info" => self.server_info(),
            "certificates_out_of_time" => self.certificates_out_of_time(),
            "client_url" => self.client_url(),
            "client_proxy" => self.client_proxy(),
            "client_host" => self.client_host(),
            "client_open" => self.client_open(),
            "client_dial" => self.client_dial(),
            "client_conn" => self.client_conn(),
            "origin_rule" => self.origin_rule(),
            "path_form" => self.path_form(),
            "gate_open" => self.gate_open(),
            "answer" => self.answer(),
            "stream_open" => self.stream_open(),
            "stream_send" => self.stream_send(),
            "stream_close" => self.stream_close(),
            "inbox_open" => self.inbox_open(),
            "inbox_rest" => self.inbox_rest(),
            "answered" => self.answered(),
            "refuse" => self.refuse(),
            "no_process" => self.no_process(),
            "setopts" => self.setopts(),
            "controlling_process" => self.controlling_process(),
            "owner_is" => self.owner_is(),
            "conn_info" => self.conn_info(),
            "conn_server" => self.conn_server(),
            "watch_conn" => self.watch_conn(),
            "trace" => self.trace(),
            "send" => self.send(),
            "send_list" => self.send_list(),
            "publish" => self.publish(),
            "publish_encoded" => self.publish_encoded(),
            "encode_frame" => self.encode_frame(),
            "subscribe" => self.subscribe(true),
            "unsubscribe" => self.subscribe(false),
            "watch_topics" => self.watch_topics(),
            "topic_news" => self.topic_news(),
            "topic_count" => self.topic_count(),
            "topics_of" => self.topics_of(),
            "connections" => self.connections(),
            "rows" => self.rows(),
            "fault" => self.fault(),
            "json_decode" => self.json_decode(),
            "json_encode" => self.json_encode(),
            _ => Err(BadArg),
        }
    }

    fn reader(&self) -> EtfReader {
        EtfReader {
            caller: caller(self.caller),
        }
    }

    /// The arguments, so many.
    fn args<const N: usize>(&self) -> Read<[EtfTerm<'a>; N]> {
        <[EtfTerm<'a>; N]>::try_from(self.args).map_err(|_| BadArg)
    }

    /// An argument as a tree; processes are the bytes of their pids.
    fn value(&self, term: EtfTerm<'_>) -> Read<Value<Pid>> {
        let bytes = term.to_bytes();
        Ok(read_etf(&mut Cursor::new(&bytes), &mut |pid| {
            Pid::from(pid)
        })?)
    }

    fn number(&self, term: EtfTerm<'_>) -> Read<u64> {
        self.reader().unsigned(term).ok_or(BadArg)
    }

    fn conn(&self, term: EtfTerm<'_>) -> Read<ConnId> {
        self.reader().conn(term).ok_or(BadArg)
    }

    fn bytes<'t>(&self, term: EtfTerm<'t>) -> Read<&'t [u8]> {
        self.reader().bytes(term).ok_or(BadArg)
    }

    fn text<'t>(&self, term: EtfTerm<'t>) -> Read<&'t str> {
        std::str::from_utf8(self.bytes(term)?).map_err(|_| BadArg)
    }

    /// The server of this number.
    fn server(&self, term: EtfTerm<'_>) -> Read<Arc<Server>> {
        self.port.server(self.number(term)?).ok_or(BadArg)
    }
}
