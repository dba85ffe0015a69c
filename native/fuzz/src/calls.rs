//! What the VM asks the engine in a process of its own for: commands, messages, and settings as terms.

use std::sync::{Arc, OnceLock};

use sockeye_engine::{ConnId, Engine, EngineConfig};
use sockeye_etf::Cursor;
use sockeye_seam::calls::{Gathered, Shape, commands, pairs, push_head, send};
use sockeye_seam::frames::Bounds;
use sockeye_seam::settings::{self, Settings};
use sockeye_seam::value::{Value, read_etf};
use sockeye_seam::{Etf, EtfReader, EtfTerm, Reader};

use crate::Choices;

/// An engine that nobody is connected to.
fn engine() -> &'static Arc<Engine> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::start(EngineConfig::new(1)).expect("an engine"))
}

/// Byte 0: bit 0 set for commands behind heads, whose number is byte 1; else a term for everything that reads one.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let first = choices.byte();
    match first & 1 {
        0 => terms(choices.0),
        _ => behind_heads(choices),
    }
}

/// Heads as they are written, or as they come, and a list of terms for them.
fn behind_heads(mut choices: Choices<'_>) {
    let count = choices.byte();
    let mut heads = Vec::new();
    for _ in 0..count & 0x1f {
        let what = choices.byte();
        let shape = [Shape::Whole, Shape::Json, Shape::Text, Shape::Binary][usize::from(what & 3)];
        match ConnId::from_u64(u64::from(what >> 2) + 1) {
            Some(conn) => push_head(&mut heads, conn, shape),
            None => heads.extend_from_slice(&[what; 9]),
        }
    }
    if count & 0x80 != 0 {
        heads.push(7);
    }
    let list = EtfTerm::new(Cursor::new(choices.0));
    let r = EtfReader { caller: 1 };
    let mut gathered = Gathered::default();
    let refused = pairs(r, engine(), &heads, list, &mut gathered);
    assert!(gathered.hand_over(engine()).is_empty());
    let Ok(refused) = refused else {
        return;
    };
    assert_eq!(refused.len(), heads.len() / 9, "nobody is there to take it");
    for refusal in refused {
        let mut out = Vec::new();
        refusal.write(&mut Etf(&mut out));
        let mut cursor = Cursor::new(&out);
        assert!(cursor.term().is_ok() && cursor.is_at_end(), "a term is cut");
    }
}

fn terms(bytes: &[u8]) {
    let term = EtfTerm::new(Cursor::new(bytes));
    let r = EtfReader { caller: 1 };
    if let Ok(carried) = commands(r, engine(), term, Bounds::NONE) {
        assert_eq!(carried.errors.len(), carried.count, "nobody is there");
        assert!(carried.stop.is_none() && carried.crowded.is_empty());
    }
    if let Some((conn, rest)) = r.cell(term)
        && let Some(conn) = r.conn(conn)
        && let Some((frame, _)) = r.cell(rest)
    {
        assert!(send(r, engine(), conn, frame, Bounds::NONE).is_err());
    }
    let Ok(value) = read_etf(&mut Cursor::new(bytes), &mut |pid| pid.to_vec()) else {
        return;
    };
    read(&value);
    // What is rare in a random term stands alone as well.
    if let Value::List(values) | Value::Tuple(values) = &value {
        values.iter().take(20).for_each(read);
    }
}

/// All that reads settings.
fn read(value: &Value<Vec<u8>>) {
    let _ = settings::decision(value, None).is_ok();
    let _ = settings::dial(value).is_ok();
    let _ = settings::client_tls(value).is_ok();
    let _ = settings::tls_settings(value).is_ok();
    let _ = settings::active(value).is_ok();
    let _ = settings::time(value).is_ok();
    let _ = settings::null(value).is_ok();
    let _ = settings::deflate_policy(value).is_ok();
    if let Ok(settings) = Settings::read(value) {
        assert!(settings.engine.dial.is_none());
    }
    let mut options = Default::default();
    for key in ["idle_timeout", "max_message_size", "max_fragments", "none"] {
        if let Ok(known) = settings::set_option(&mut options, key, value) {
            assert_eq!(known, key != "none");
        }
    }
}
