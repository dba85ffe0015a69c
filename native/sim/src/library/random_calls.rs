//! Calls that processes make beside their work, at any moment.

use std::time::Duration;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_simulated_engine::op::Command;
use sockeye_simulated_engine::{Broadcast, ConnId, ConnOptions, Frames, TellTrace, Tracer};
use sockeye_world::{chance, draw, draw_from};

use super::processes::Vm;

const TOPICS: [&[u8]; 4] = [b"a", b"ab", b"a*", b"b"];

/// Subscribes a new connection.
pub(super) fn subscribe(vm: &Vm, conn: ConnId) {
    if vm.plan.processes.publishes > 0 && chance(2, 3) {
        let _ = vm.engine.subscribe(conn, draw_from(&TOPICS));
    }
}

/// Publishes a message.
pub(super) fn publish(vm: &Vm, conn: ConnId) {
    let id = {
        let mut ledger = vm.ledger.lock();
        ledger.publications += 1;
        ledger.publications
    };
    let mut bytes = Vec::new();
    let size = draw(40) as usize;
    let text = format!("topic {id} 0 {}", "t".repeat(size));
    frame::write(&mut bytes, Opcode::Text, text.as_bytes(), None);
    let frame = Broadcast::plain(bytes);
    let except = chance(1, 4).then_some(conn);
    let ledger = vm.ledger.clone();
    let outcome: Box<dyn FnOnce(u64, u64) + Send> =
        Box::new(move |_, _| ledger.lock().questions_answered += 1);
    let taken = match chance(1, 4) {
        true => vm.engine.fan_out(&vm.server, &frame, except, Some(outcome)),
        false => {
            let topic = draw_from(&TOPICS[..2]);
            vm.engine
                .publish(&vm.server, topic, &frame, except, Some(outcome))
        }
    };
    if taken.is_ok_and(|shards| !shards.is_empty()) {
        vm.ledger.lock().questions_asked += 1;
    }
}

/// One call at random.
pub(super) fn make_one(vm: &Vm, conn: ConnId) {
    let ledger = vm.ledger.clone();
    match draw(if vm.plan.fair { 8 } else { 9 }) {
        0 => {
            let reply = Box::new(move |_| ledger.lock().questions_answered += 1);
            if vm.engine.conn_stats(conn, reply).is_ok() {
                vm.ledger.lock().questions_asked += 1;
            }
        }
        1 => {
            let told = vm.engine.connections(&vm.server, None, || {
                let ledger = ledger.clone();
                Box::new(move |_| ledger.lock().questions_answered += 1)
            });
            vm.ledger.lock().questions_asked += told as u64;
        }
        2 => {
            let _ = vm.engine.subscribe(conn, draw_from(&TOPICS));
        }
        3 => {
            let _ = vm.engine.unsubscribe(conn, draw_from(&TOPICS));
        }
        4 => {
            let told = move |_| ledger.lock().questions_answered += 1;
            if vm.engine.watch(conn, Box::new(told)) {
                vm.ledger.lock().questions_asked += 1;
            }
        }
        5 => {
            let mut options = ConnOptions::default();
            options.ping_interval = Some(Duration::from_millis(500 + draw(30_000)));
            options.send_queue_size = chance(1, 2).then(|| 100 + draw(100_000) as u32);
            let mut frames = Frames::default();
            let part = Command::Options(Box::new(options));
            frames.commands.push((conn, part));
            vm.engine.send(conn.shard(), frames);
        }
        6 => trace_frames(vm, conn),
        7 => {
            let shard = draw(vm.engine.shards() as u64) as usize;
            let reply = Box::new(move |rows: &[u8], _: Option<u32>| {
                ledger.lock().questions_answered += 1;
                if !are_rows(rows) {
                    ledger.problem(format!("no rows: {rows:?}"));
                }
            });
            if vm.engine.rows(&vm.server, shard, 0, reply) {
                vm.ledger.lock().questions_asked += 1;
            }
        }
        _ => vm.server.forget_questions(),
    }
}

/// Traces the frames of a connection. The tracer may end it; the end is told once.
fn trace_frames(vm: &Vm, conn: ConnId) {
    let (ledger, mut over) = (vm.ledger.clone(), false);
    let mut wanted = 1 + draw(40);
    let tell: TellTrace = Box::new(move |frame| {
        let Some(frame) = frame else {
            if std::mem::replace(&mut over, true) {
                ledger.problem(format!("the end of {conn:?} is shown twice"));
            }
            ledger.lock().questions_answered += 1;
            return false;
        };
        if over || wanted == 0 {
            ledger.problem(format!("{conn:?} is shown to a tracer that wants no more"));
        }
        // What comes in may be invalid.
        let is_frame = frame.incoming || matches!(frame.head & 0x3f, 0..=2 | 8..=10);
        if !is_frame || frame.payload.len() > 16 {
            ledger.problem(format!("{frame:?} of {conn:?} is no frame"));
        }
        wanted -= 1;
        wanted > 0
    });
    let tracer = Tracer {
        id: draw(1 << 30),
        rate: 1 + draw(100) as u32,
        payload: 16,
        tell,
    };
    if vm.engine.trace(conn, Ok(tracer)) {
        vm.ledger.lock().questions_asked += 1;
    }
}

/// Whether these bytes are whole rows, as the engine describes them.
fn are_rows(mut rows: &[u8]) -> bool {
    const FIXED: usize = 8 + 8 + 4 + 4 + 8 + 4 + 3;
    while let Some(lengths) = rows.get(FIXED - 3..FIXED) {
        let texts: usize = lengths.iter().map(|len| usize::from(*len)).sum();
        let Some(rest) = rows.get(FIXED + texts..) else {
            return false;
        };
        rows = rest;
    }
    rows.is_empty()
}
