//! Processes that answer questions: whether a WebSocket may open, and ordinary requests.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sockeye_protocol::handshake::Refusal;
use sockeye_simulated_engine::{Answer, PieceOutcome, Server, StreamEnd};
use sockeye_world::{chance, draw, time};

use super::host::Notices;
use super::processes::Vm;
use crate::model::ledger::SharedLedger;
use crate::plan::requests::RequestPlan;
use crate::vm::left_clients::LeftClients;
use crate::vm::wakeup::Wakeup;

const SECOND: u64 = 1_000_000_000;

/// The process that gets the questions of a server.
pub(super) async fn answer_questions(vm: Rc<Vm>, server: Arc<Server>, notices: Arc<Notices>) {
    time::sleep(Duration::from_nanos(draw(300_000_000))).await;
    notices.takes_questions.store(true, Ordering::Relaxed);
    let fair = vm.plan.fair;
    loop {
        notices.new_question.notified().await;
        loop {
            let asked = {
                let mut all = notices
                    .questions
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                all.pop_front()
            };
            let Some((token, request)) = asked else { break };
            if let Some(request) = request {
                let known = (
                    server.clone(),
                    notices.left_clients.clone(),
                    vm.ledger.clone(),
                );
                vm.spawn(respond(known, fair, token, request));
                continue;
            }
            if chance(1, 4) {
                let pause = if fair { 100_000_000 } else { 8 * SECOND };
                time::sleep(Duration::from_nanos(draw(pause))).await;
            }
            server.answer(token, may_open());
        }
    }
}

/// Whether a WebSocket may open.
fn may_open() -> Answer {
    match chance(9, 10) {
        true => Answer::Accept(Box::default()),
        false => Answer::Respond(Refusal::new(403, "no")),
    }
}

/// Answers a request, at once or in pieces.
async fn respond(
    (server, left_clients, ledger): (Arc<Server>, Arc<LeftClients>, SharedLedger),
    fair: bool,
    token: u64,
    request: RequestPlan,
) {
    if chance(1, 3) {
        let pause = if fair || chance(3, 4) {
            50_000_000
        } else {
            8_000_000_000
        };
        time::sleep(Duration::from_nanos(draw(pause))).await;
    }
    if !fair && chance(1, 20) {
        // The process has crashed, or has forgotten the question.
        return;
    }
    let mut content = request.response_content();
    if request.pieces == 0 {
        server.answer(token, Answer::Respond(Refusal::new(200, content)));
        return;
    }
    left_clients.begin(token);
    if !server.open_stream(token, Refusal::new(200, "")) {
        return;
    }
    let size = content.len().div_ceil(request.pieces).max(1);
    while !content.is_empty() {
        let rest = content.split_off(size.min(content.len()));
        let piece = std::mem::replace(&mut content, rest);
        if chance(1, 4) {
            time::sleep(Duration::from_nanos(draw(100_000_000))).await;
        }
        if !fair && chance(1, 50) {
            return server.end_stream(token, StreamEnd::Broken);
        }
        let wakeup = Arc::new(Wakeup::default());
        let told = wakeup.clone();
        let answered = ledger.clone();
        let tell = move || -> sockeye_simulated_engine::Tell {
            Box::new(move |_| {
                answered.lock().questions_answered += 1;
                told.notify();
            })
        };
        match server.give_piece(token, &piece, tell) {
            PieceOutcome::Taken => {}
            PieceOutcome::Waits => {
                ledger.lock().questions_asked += 1;
                wakeup.notified().await;
            }
            PieceOutcome::Closed => {
                let stopping = ledger.lock().stopping;
                if fair
                    && !request.is_head
                    && request.leaves.is_none()
                    && !stopping
                    && !left_clients.has_left(token)
                {
                    ledger.problem(format!("the client of a response is gone: {request:?}"));
                }
                return;
            }
        }
    }
    let end = if request.breaks {
        StreamEnd::Broken
    } else {
        StreamEnd::Complete
    };
    server.end_stream(token, end);
}
