//! Injected faults, for tests of how the VM handles them.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use sockeye_seam::value::{BadArg, Read};

use super::Call;
use super::control::aside;

/// The environment has this where faults may be asked for.
const ALLOWED: &str = "SOCKEYE_ENGINE_FAULTS";

impl Call<'_> {
    pub(super) fn fault(self) -> Read<()> {
        if std::env::var_os(ALLOWED).is_none() {
            return Err(BadArg);
        }
        let [how] = self.args()?;
        let how = self.value(how)?;
        let engine = self.port.engine().ok_or(BadArg)?;
        match how.atom()? {
            "panic_link" => fail(),
            "panic_call" => aside(|| fail()),
            "panic_shard" => engine.call(Box::new(|| fail())),
            "hang_link" => hang(),
            "hang_shard" => {
                // The last one of them: each has to show that it goes on.
                let left = Cell::new(engine.shards());
                engine.call_each(|| {
                    left.set(left.get() - 1);
                    match left.get() {
                        0 => Box::new(|| hang()),
                        _ => Box::new(|| ()),
                    }
                });
            }
            "abort" => std::process::abort(),
            "memory" => {
                // Where there is a bound, it is met before.
                for _ in 0..1 << 10 {
                    black_box(vec![1_u8; 1 << 20].leak());
                }
            }
            _ => return Err(BadArg),
        }
        self.reply_to.ok();
        Ok(())
    }
}

#[expect(clippy::panic, reason = "that is what is asked for")]
fn fail() -> ! {
    panic!("a panic on purpose")
}

fn hang() -> ! {
    loop {
        crate::world::thread::sleep(Duration::from_secs(1));
    }
}
