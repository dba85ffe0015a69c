//! Times the receiving side in memory: nanoseconds per message, best of several runs.
//!
//! `cargo run --release -p sockeye-protocol --example receive`

use std::hint::black_box;
use std::time::Instant;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::{Kind, Limits, Payload, Role, Session, Sink};

struct Echo {
    out: Vec<u8>,
}

impl Sink for Echo {
    fn message(&mut self, kind: Kind, payload: Payload<'_>) {
        frame::write(&mut self.out, kind.op(), black_box(&payload), None);
    }
}

struct Count(usize);

impl Sink for Count {
    fn message(&mut self, _: Kind, payload: Payload<'_>) {
        self.0 += black_box(&*payload).len();
    }
}

/// Best time of one message in nanoseconds, the copy of the input into the read buffer included.
fn measure(size: usize, per_read: usize, op: Opcode, mut sink: impl FnMut(&mut [u8])) -> f64 {
    let payload = vec![b'x'; size];
    let mut wire = Vec::new();
    for _ in 0..per_read {
        frame::write(&mut wire, op, &payload, Some([0x12, 0x34, 0x56, 0x78]));
    }
    let mut input = wire.clone();
    let reads = (200_000_000 / (wire.len() * 10 + 500 * per_read)).max(100);
    let mut best = f64::MAX;
    for _ in 0..7 {
        let begin = Instant::now();
        for _ in 0..reads {
            input.copy_from_slice(&wire);
            sink(&mut input);
        }
        let nanos = begin.elapsed().as_nanos() as f64;
        best = best.min(nanos / (reads * per_read) as f64);
    }
    best
}

fn main() {
    let limits = Limits::default();
    println!(
        "{:>7} {:>5} {:>7} {:>9} {:>9}",
        "bytes", "/read", "kind", "receive", "echo"
    );
    for (size, per_read) in [
        (20, 1),
        (20, 16),
        (64, 16),
        (1024, 1),
        (1024, 16),
        (65_000, 1),
    ] {
        for op in [Opcode::Text, Opcode::Binary] {
            let mut session = Session::new(Role::Server);
            let mut out = Vec::new();
            let mut count = Count(0);
            let receive = measure(size, per_read, op, |input| {
                session.receive(input, &limits, &mut out, &mut count);
            });
            let mut echo = Echo { out: Vec::new() };
            let both = measure(size, per_read, op, |input| {
                echo.out.clear();
                session.receive(input, &limits, &mut out, &mut echo);
                black_box(&echo.out);
            });
            assert!(session.is_open() && count.0 > 0);
            println!(
                "{size:>7} {per_read:>5} {:>7} {receive:>9.1} {both:>9.1}",
                format!("{op:?}")
            );
        }
    }
}
