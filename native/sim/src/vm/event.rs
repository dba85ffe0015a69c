//! Events as processes of the VM get them, and what the ledger learns from each.

use sockeye_simulated_engine::batch::Event;
use sockeye_simulated_engine::{Active, ConnId, Mode};
use sockeye_world::trace;

use crate::model::content::{is_whole, word};
use crate::model::ledger::SharedLedger;
use crate::plan::Plan;

/// An event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VmEvent {
    /// With its path, which names the client.
    Open(String),
    Text(Vec<u8>),
    Other,
    /// The credits are used up.
    Passive,
    /// `closed` follows, and waits for the answer to what came before.
    Ending,
    Closed(u16),
}

impl From<&Event<'_>> for VmEvent {
    fn from(event: &Event<'_>) -> Self {
        match event {
            Event::Open(info) => VmEvent::Open(info.request.path().to_owned()),
            Event::Text(bytes) => VmEvent::Text(bytes.to_vec()),
            Event::Binary(_) | Event::Ping(_) | Event::Pong(_) => VmEvent::Other,
            Event::Passive => VmEvent::Passive,
            Event::Ending => VmEvent::Ending,
            Event::Closed(ended) => VmEvent::Closed(ended.code),
        }
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Crash,
    Normal,
}

/// Enters an event into the ledger. `key` names the process that got it.
pub(crate) fn note(ledger: &SharedLedger, plan: &Plan, key: u64, conn: ConnId, event: &VmEvent) {
    trace::note(&[11, conn.as_u64(), kind(event)], || {
        format!("event of {conn:?}: {}", short(event))
    });
    if let VmEvent::Open(path) = event {
        let client = match path.strip_prefix("/d") {
            // The engine's own client keeps account of its side.
            Some(_) => ledger.add_engine_client(),
            None => path.trim_start_matches('/').parse().unwrap_or(usize::MAX),
        };
        let credits = match plan.server.active {
            Active::Count(n) => Some(i64::from(n)),
            Active::Once => Some(1),
            _ => None,
        };
        let first = ledger.update(client, |record| {
            record.opens += 1;
            record.conn = Some(conn);
            record.inboxes.push(key);
            record.credits = credits.filter(|_| !plan.server.control_frames);
            record.opens == 1
        });
        if first != Some(true) {
            ledger.problem(format!("{conn:?} is opened twice"));
        }
        return;
    }
    let Some(client) = ledger.client_of(conn) else {
        if plan.mode != Mode::PerConnection || *event != VmEvent::Passive {
            ledger.problem(format!("{event:?} of {conn:?}, which is not open"));
        }
        return;
    };
    match event {
        VmEvent::Text(text) => {
            let number = word(text, 1) as u64;
            if !is_whole(text, number) {
                ledger.problem(format!("message {number} of client {client} is another"));
            }
            ledger.message_received(client, number);
        }
        VmEvent::Closed(code) => {
            let while_serving = !ledger.lock().stopping;
            let again = ledger.update(client, |record| {
                record.closes += 1;
                record.closed_while_serving = while_serving;
                record.close_event_code = Some(*code);
                record.closes > 1
            });
            if again == Some(true) {
                ledger.problem(format!("client {client} is closed twice"));
            }
        }
        _ => {}
    }
}

/// What the hash of a run has of an event.
pub(crate) fn kind(event: &VmEvent) -> u64 {
    match event {
        VmEvent::Open(_) => 1,
        VmEvent::Text(text) => 10 + text.len() as u64,
        VmEvent::Other => 2,
        VmEvent::Passive => 3,
        VmEvent::Ending => 4,
        VmEvent::Closed(code) => 1_000_000 + u64::from(*code),
    }
}

fn short(event: &VmEvent) -> String {
    match event {
        VmEvent::Text(text) => {
            let shown: String = String::from_utf8_lossy(text).chars().take(20).collect();
            format!("Text {shown:?} ({})", text.len())
        }
        other => format!("{other:?}"),
    }
}
