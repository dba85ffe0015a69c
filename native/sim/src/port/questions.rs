//! Processes that answer questions: whether a WebSocket may open, and ordinary requests.

use std::rc::Rc;
use std::time::Duration;

use sockeye_world::{chance, draw, time};

use super::node::Node;
use super::process::{Answer, Message};
use crate::plan::requests::RequestPlan;
use crate::terms::{Term, atom, binary, int, list, tagged, tuple};

impl Node {
    /// The process that gets the questions of a server.
    pub(super) async fn answer_questions(self: Rc<Self>, server: i64) {
        let me = self.process();
        self.behaviour.monitor_delay().await;
        let opened = self.call(me.number, "gate_open", vec![int(server)]).await;
        if !matches!(opened, Answer::Value(_)) {
            return self.die(&me).await;
        }
        loop {
            let message = me.next().await;
            let Message::Term(term) = message else {
                match message {
                    Message::Stop => return self.die(&me).await,
                    _ => continue,
                }
            };
            let token = match term.tuple() {
                Ok([_, Term::Integer(token)]) => {
                    self.left_clients.left(&self.ledger, *token as u64);
                    continue;
                }
                Ok([_, token, about, _]) if about.is("accept") => token,
                Ok([_, Term::Integer(token), _, request]) => {
                    let (node, by) = (self.clone(), me.number);
                    match self.requested(request) {
                        Some(ask) => self.spawn(node.respond(by, (server, *token), ask)),
                        None => self
                            .ledger
                            .problem(format!("an unknown question: {request:?}")),
                    }
                    continue;
                }
                _ => continue,
            };
            if chance(1, 4) {
                let pause = if self.plan.fair {
                    100_000_000
                } else {
                    8_000_000_000
                };
                time::sleep(Duration::from_nanos(draw(pause))).await;
            }
            let answer = match chance(9, 10) {
                true => tagged("accept", Term::Map(Vec::new())),
                false => tuple(vec![
                    atom("reject"),
                    int(403),
                    list(Vec::new()),
                    binary("no"),
                ]),
            };
            let args = vec![int(server), token.clone(), answer];
            match chance(1, 2) {
                true => self.cast(me.number, "answer", args),
                false => drop(self.call(me.number, "answer", args).await),
            }
        }
    }

    /// The request in a question.
    fn requested(&self, request: &Term) -> Option<RequestPlan> {
        let path: String = request.get_as("path").ok()?;
        let method: String = request.get_as("method").ok()?;
        let body = request.get("body").ok()?.bytes().ok()?.to_vec();
        let ask = RequestPlan::from_path(&path)?;
        if ask.request_body() != body {
            self.ledger
                .problem(format!("{path} came with another body"));
        }
        Some(RequestPlan {
            is_head: method == "HEAD",
            ..ask
        })
    }

    /// Answers a request, at once or in pieces.
    async fn respond(self: Rc<Self>, by: u32, (server, token): (i64, i64), ask: RequestPlan) {
        let fair = self.plan.fair;
        if chance(1, 3) {
            let long = !fair && chance(1, 4);
            let pause = if long { 8_000_000_000 } else { 50_000_000 };
            time::sleep(Duration::from_nanos(draw(pause))).await;
        }
        if !fair && chance(1, 20) {
            // The process has crashed, or has forgotten the question.
            return;
        }
        let name = || vec![int(server), int(token)];
        let with = |more: Term| name().into_iter().chain([more]).collect();
        let content = ask.response_content();
        let no_headers = || list(Vec::new());
        if ask.pieces == 0 {
            let answer = vec![atom("reject"), int(200), no_headers(), binary(content)];
            return match chance(1, 2) {
                true => self.cast(by, "answer", with(tuple(answer))),
                false => drop(self.call(by, "answer", with(tuple(answer))).await),
            };
        }
        self.left_clients.begin(token as u64);
        let head = tuple(vec![int(200), no_headers()]);
        let is_open = self.call(by, "stream_open", with(head)).await;
        if !matches!(is_open, Answer::Value(is) if is.is("true")) {
            return;
        }
        let size = content.len().div_ceil(ask.pieces).max(1);
        for piece in content.chunks(size) {
            if chance(1, 4) {
                time::sleep(Duration::from_nanos(draw(100_000_000))).await;
            }
            if !fair && chance(1, 50) {
                return self.cast(by, "stream_close", with(atom("closed")));
            }
            match self.call(by, "stream_send", with(binary(piece))).await {
                Answer::Value(sent) if sent.is("sent") => {}
                Answer::Value(_) => {
                    let stopping = self.ledger.lock().stopping;
                    let stays = !ask.is_head && ask.leaves.is_none();
                    if fair && stays && !stopping && !self.left_clients.has_left(token as u64) {
                        self.ledger
                            .problem(format!("the client of a response is gone: {ask:?}"));
                    }
                    return;
                }
                _ => return,
            }
        }
        let end = if ask.breaks { "closed" } else { "ok" };
        self.cast(by, "stream_close", with(atom(end)));
    }
}
