//! What processes do beside their work, at any moment.

use std::time::Duration;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_simulated_engine::op::Command;
use sockeye_simulated_engine::{Broadcast, ConnId, ConnOptions, Frames, TellTrace, Tracer};
use sockeye_world::{chance, draw, draw_from};

use crate::process::Vm;

const TOPICS: [&[u8]; 4] = [b"a", b"ab", b"a*", b"b"];

/// Subscribes a new connection.
pub(crate) fn subscribe(vm: &Vm, conn: ConnId) {
    if vm.plan.processes.publishes > 0 && chance(2, 3) {
        let _ = vm.engine.subscribe(conn, draw_from(&TOPICS));
    }
}

/// A frame for many.
pub(crate) fn publish(vm: &Vm, conn: ConnId) {
    let id = {
        let mut book = vm.book.open();
        book.publications += 1;
        book.publications
    };
    let mut bytes = Vec::new();
    let size = draw(40) as usize;
    let text = format!("topic {id} 0 {}", "t".repeat(size));
    frame::write(&mut bytes, Opcode::Text, text.as_bytes(), None);
    let frame = Broadcast::plain(bytes);
    let except = chance(1, 4).then_some(conn);
    let book = vm.book.clone();
    let outcome: Box<dyn FnOnce(u64, u64) + Send> = Box::new(move |_, _| book.open().answered += 1);
    let taken = match chance(1, 4) {
        true => vm.engine.fan_out(&vm.server, &frame, except, Some(outcome)),
        false => {
            let topic = draw_from(&TOPICS[..2]);
            vm.engine
                .publish(&vm.server, topic, &frame, except, Some(outcome))
        }
    };
    if taken.is_ok_and(|shards| !shards.is_empty()) {
        vm.book.open().asked += 1;
    }
}

/// Something at a bad moment.
pub(crate) fn meddle(vm: &Vm, conn: ConnId) {
    let book = vm.book.clone();
    match draw(if vm.plan.fair { 8 } else { 9 }) {
        0 => {
            let reply = Box::new(move |_| book.open().answered += 1);
            if vm.engine.conn_stats(conn, reply).is_ok() {
                vm.book.open().asked += 1;
            }
        }
        1 => {
            let told = vm.engine.connections(&vm.server, None, || {
                let book = book.clone();
                Box::new(move |_| book.open().answered += 1)
            });
            vm.book.open().asked += told as u64;
        }
        2 => {
            let _ = vm.engine.subscribe(conn, draw_from(&TOPICS));
        }
        3 => {
            let _ = vm.engine.unsubscribe(conn, draw_from(&TOPICS));
        }
        4 => {
            let told = move |_| book.open().answered += 1;
            if vm.engine.watch(conn, Box::new(told)) {
                vm.book.open().asked += 1;
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
        6 => watch(vm, conn),
        7 => {
            let shard = draw(vm.engine.shards() as u64) as usize;
            let reply = Box::new(move |rows: &[u8], _: Option<u32>| {
                book.open().answered += 1;
                if !are_rows(rows) {
                    book.problem(format!("no rows: {rows:?}"));
                }
            });
            if vm.engine.rows(&vm.server, shard, 0, reply) {
                vm.book.open().asked += 1;
            }
        }
        _ => vm.server.forget_questions(),
    }
}

/// Shows the frames of a connection to somebody, who may have enough of them. The end is told once.
fn watch(vm: &Vm, conn: ConnId) {
    let (book, mut over) = (vm.book.clone(), false);
    let mut patience = 1 + draw(40);
    let tell: TellTrace = Box::new(move |frame| {
        let Some(frame) = frame else {
            if std::mem::replace(&mut over, true) {
                book.problem(format!("the end of {conn:?} is shown twice"));
            }
            book.open().answered += 1;
            return false;
        };
        if over || patience == 0 {
            book.problem(format!("{conn:?} is shown to somebody who has gone"));
        }
        // What comes in may be nonsense.
        let is_frame = frame.incoming || matches!(frame.head & 0x3f, 0..=2 | 8..=10);
        if !is_frame || frame.payload.len() > 16 {
            book.problem(format!("{frame:?} of {conn:?} is no frame"));
        }
        patience -= 1;
        patience > 0
    });
    let tracer = Tracer {
        id: draw(1 << 30),
        rate: 1 + draw(100) as u32,
        payload: 16,
        tell,
    };
    if vm.engine.trace(conn, Ok(tracer)) {
        vm.book.open().asked += 1;
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
