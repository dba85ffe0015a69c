//! What processes do when an event comes, handlers and owners alike.

use std::collections::VecDeque;
use std::rc::Rc;

use sockeye_simulated_engine::active::SetActive;
use sockeye_simulated_engine::{Active, ConnId};
use sockeye_world::{chance, draw};

use super::node::Node;
use super::terms::{json, text};
use crate::model::content::word;
use crate::terms::{Term, atom, binary, int, tagged, tuple};
use crate::vm::event::VmEvent;
use crate::vm::operation::Operation;

/// Appends what the process wants done.
pub(super) fn react(
    node: &Rc<Node>,
    by: u32,
    conn: ConnId,
    event: &VmEvent,
    operations: &mut VecDeque<Operation>,
) {
    let plan = &node.plan;
    if node.behaviour.happens(plan.processes.random_calls) {
        node.make_random_call(by, conn);
    }
    let once = Operation::Active(conn, SetActive::To(Active::Once));
    match event {
        VmEvent::Text(text) => {
            let (replies, size) = (word(text, 2), word(text, 3));
            let client = node.ledger.client_of(conn).unwrap_or(usize::MAX);
            for _ in 0..replies {
                operations.push_back(match node.behaviour.happens(plan.processes.streams) {
                    true => Operation::InPieces(conn, client, size),
                    false => Operation::Reply(conn, client, size),
                });
            }
            if plan.server.active == Active::Once {
                operations.push_back(once);
            }
            if node.behaviour.happens(plan.processes.publishes) {
                node.publish(by, conn);
            }
            if node.behaviour.happens(plan.processes.closes) {
                operations.push_back(Operation::Close(conn, 3000 + draw(3) as u16));
            }
        }
        VmEvent::Other if plan.server.active == Active::Once => operations.push_back(once),
        VmEvent::Passive => {
            let more = 1 + draw(5) as i32;
            operations.push_back(Operation::Active(conn, SetActive::Add(more)));
        }
        VmEvent::Open(_) => node.subscribe(by, conn),
        VmEvent::Other | VmEvent::Ending | VmEvent::Closed(_) => {}
    }
}

/// The frame of an operation, which is entered into the ledger. None if there is nothing to send.
pub(super) fn to_frame(node: &Node, operation: &Operation) -> Option<(ConnId, Term)> {
    let ledger = &node.ledger;
    match *operation {
        Operation::Reply(conn, client, size) => {
            let number = ledger.update(client, |a| a.replies_accepted)?;
            let mut reply = format!("{client} {number} ");
            let pad = size.saturating_sub(reply.len());
            reply.extend(std::iter::repeat_n('r', pad));
            ledger.update(client, |a| {
                a.replies_accepted += 1;
                a.largest_reply = a.largest_reply.max(reply.len() + 20);
            });
            let is_json = node.plan.port.is_some_and(|port| port.json_replies) && chance(1, 2);
            Some((
                conn,
                if is_json {
                    json(&reply)
                } else {
                    text(reply.as_bytes())
                },
            ))
        }
        // These are sent otherwise.
        Operation::Piece(_) | Operation::InPieces(..) => None,
        Operation::Close(conn, code) => {
            let client = ledger.client_of(conn)?;
            let first = ledger.update(client, |a| {
                let first = a.close_requested.is_none();
                if first {
                    a.close_requested = Some((code, a.replies_accepted));
                }
                first
            })?;
            let close = || tuple(vec![atom("close"), int(code.into()), binary("")]);
            first.then(|| (conn, close()))
        }
        Operation::Active(conn, change) => {
            if let Some(client) = ledger.client_of(conn) {
                ledger.update(client, |record| match (change, &mut record.credits) {
                    (SetActive::Add(n), Some(credits)) => *credits += i64::from(n),
                    (_, Some(credits)) => *credits = 1,
                    _ => {}
                });
            }
            let value = match change {
                SetActive::Add(n) => int(n.into()),
                SetActive::To(_) => atom("once"),
            };
            Some((conn, tagged("active", value)))
        }
    }
}
