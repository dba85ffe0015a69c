//! Calls that processes make beside their work, at any moment.

use std::rc::Rc;

use sockeye_simulated_engine::ConnId;
use sockeye_world::{chance, draw, draw_from};

use super::node::{Node, PUBLISH};
use super::process::{Answer, Message};
use super::terms::{SERVER, conn_term, text};
use crate::terms::{Term, atom, binary, bytes, int, list, tagged};

const TOPICS: [&str; 3] = ["a", "ab", "b"];

impl Node {
    /// Publishes a message. There is no answer.
    pub(super) fn publish(&self, by: u32, conn: ConnId) {
        let id = {
            let mut ledger = self.ledger.lock();
            ledger.publications += 1;
            ledger.publications
        };
        let size = draw(40) as usize;
        let frame = text(format!("topic {id} {by} {}", "t".repeat(size)).as_bytes());
        let to = match chance(1, 4) {
            true => atom("all"),
            false => binary(draw_from(&TOPICS)),
        };
        let except = match chance(1, 4) {
            true => conn_term(conn),
            false => atom("none"),
        };
        let mut body = 0_u64.to_be_bytes().to_vec();
        let what = list(vec![atom("note"), int(SERVER), to, frame, except]);
        body.extend(bytes(&what));
        self.post(by, PUBLISH, body);
    }

    /// One call at random.
    pub(super) fn make_random_call(self: &Rc<Self>, by: u32, conn: ConnId) {
        let topic = || binary(draw_from(&TOPICS));
        let (function, args) = match draw(6) {
            0 => ("conn_info", vec![conn_term(conn)]),
            1 => ("connections", vec![int(SERVER), atom("all")]),
            2 => ("subscribe", vec![conn_term(conn), topic()]),
            3 => ("unsubscribe", vec![conn_term(conn), topic()]),
            4 => {
                let ping = tagged("ping_interval", int(500 + draw(30_000) as i64));
                ("setopts", vec![conn_term(conn), list(vec![ping])])
            }
            _ => {
                let watcher = self.process();
                let pid = crate::terms::process(watcher.number);
                let node = self.clone();
                self.spawn(async move {
                    let args = vec![conn_term(conn), pid];
                    let watches = node.call(watcher.number, "watch_conn", args).await;
                    let watches = matches!(watches, Answer::Value(ok) if ok.is("ok"));
                    let told = async {
                        let message = watcher.next().await;
                        let is_down =
                            |term: &Term| term.tuple().is_ok_and(|p| p[0].is("sockeye_down"));
                        matches!(message, Message::Term(term) if is_down(&term))
                    };
                    if watches {
                        // It may be told to stop instead.
                        let _ = told.await;
                    }
                    node.die(&watcher).await;
                });
                return;
            }
        };
        if function == "subscribe" && chance(1, 2) {
            return self.cast(by, function, args);
        }
        let node = self.clone();
        self.spawn(async move {
            node.call(by, function, args).await;
        });
    }

    /// Subscribes a new connection.
    pub(super) fn subscribe(&self, by: u32, conn: ConnId) {
        if self.plan.processes.publishes > 0 && chance(2, 3) {
            let topic = binary(draw_from(&TOPICS));
            self.cast(by, "subscribe", vec![conn_term(conn), topic]);
        }
    }
}
