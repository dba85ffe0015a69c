//! Delivery processes: each gets the batches of one owner, and sends it the events.

use std::rc::Rc;

use super::node::Node;
use super::process::{Message, Process};
use super::terms::{conn_of, event_of};

/// Starts the delivery process of an owner.
pub(super) fn start(node: &Rc<Node>, owner: Rc<Process>, id: u64) -> Rc<Process> {
    let me = node.process();
    node.has_delivery.borrow_mut().insert(owner.number);
    let (delivery, node) = (me.clone(), node.clone());
    node.clone().spawn(async move {
        loop {
            match me.next().await {
                Message::Batch(of, events) => {
                    debug_assert_eq!(of, id);
                    for (conn, event) in events {
                        if let Some(conn) = conn_of(&conn) {
                            owner.put(Message::Event(conn, event_of(&event)));
                        }
                    }
                    node.commands(me.number, id, 1, &mut Vec::new());
                }
                Message::Stop => {
                    owner.put(Message::AllDelivered);
                    return node.die(&me).await;
                }
                _ => {}
            }
        }
    });
    delivery
}
