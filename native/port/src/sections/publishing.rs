//! Messages that a handler publishes. It does not wait for an answer, and is told only of failures.

use sockeye_engine::{SendError, ShardSet};
use sockeye_seam::calls as seam;
use sockeye_seam::frames::{Bounds, SendFailure};
use sockeye_seam::{Atom, EtfReader, EtfTerm, Reader, Writer};

use crate::calls::elements;
use crate::link::packets::Broken;
use crate::link::reply_to::reason;
use crate::server::port::Port;

/// Publishes `[Note, ServerId, To, Frame, Except]` for the process of this Id. Gives the shards that have got it.
pub(crate) fn publish(port: &Port, id: u64, term: EtfTerm<'_>) -> Result<ShardSet, Broken> {
    let reader = EtfReader { caller: 0 };
    let parts = elements(term).unwrap_or_default();
    let [note, server, to, frame, except] = *parts else {
        return Err(Broken(
            "what is to be published is no [Note, ServerId, To, Frame, Except]",
        ));
    };
    let failure = match spread(port, reader, server, (to, except), frame) {
        Ok(shards) => return Ok(shards),
        Err(failure) => failure,
    };
    // That the server is about to stop is no news.
    let is_news = !matches!(failure, SendFailure::Send(SendError::Closed));
    if is_news && port.processes.is_alive(id) {
        port.link.message(id, |w| {
            w.tuple(2);
            w.atom(Atom::sockeye_failed);
            w.list(1);
            w.tuple(3);
            note.copy_to(w.0);
            frame.copy_to(w.0);
            reason(w, &failure);
            w.end_list(&[]);
        });
    }
    Ok(ShardSet::default())
}

fn spread<'a>(
    port: &Port,
    r: EtfReader,
    server: EtfTerm<'a>,
    (to, except): (EtfTerm<'a>, EtfTerm<'a>),
    frame: EtfTerm<'a>,
) -> Result<ShardSet, SendFailure<EtfTerm<'a>>> {
    let server = r.unsigned(server).and_then(|number| port.server(number));
    let (Some(engine), Some(server)) = (port.engine(), server) else {
        return Err(SendFailure::Send(SendError::Closed));
    };
    let encoded = seam::encode_for(r, &server, frame, Bounds::NONE)?;
    let who = seam::recipients(r, to, except).map_err(|_| SendFailure::BadArg)?;
    seam::spread(&engine, &server, who, encoded, None, Bounds::NONE)
}
