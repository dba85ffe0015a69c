//! What threads write to together on the way of a frame has its place in docs/decisions/cores.md.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The way of a frame from the socket to a process, and of its answer back.
const WAY: [&str; 20] = [
    "engine/src/shard/conn/io.rs",
    "engine/src/shard/conn/events.rs",
    "engine/src/shard/deliver.rs",
    "engine/src/vm/batch.rs",
    "engine/src/vm/inbox.rs",
    "engine/src/vm/inbox/filler.rs",
    "engine/src/shard/schedule.rs",
    "engine/src/shard/turn.rs",
    "engine/src/shard/run.rs",
    "nif/src/server/relay.rs",
    "nif/src/vm/process.rs",
    "nif/src/calls/inbound.rs",
    "nif/src/calls/commands.rs",
    "nif/src/vm/running.rs",
    "seam/src/calls/commands.rs",
    "engine/src/engine/conns.rs",
    "engine/src/shard/slots.rs",
    "engine/src/shard/handle.rs",
    "engine/src/shard/conn/sending.rs",
    "engine/src/shard/outbox.rs",
];

/// Calls that write, or take a lock for which a word is written. `read` and `write` are those of a lock.
const WRITES: [&str; 12] = [
    "fetch_add",
    "fetch_sub",
    "fetch_or",
    "fetch_and",
    "fetch_max",
    "store",
    "swap",
    "compare_exchange",
    "compare_exchange_weak",
    "lock",
    "try_lock",
    "bump",
];

/// The last name in `self.counters.busy`, or in `&self.filling, 1`.
fn last(tokens: impl Iterator<Item = TokenTree>) -> Option<String> {
    let first =
        tokens.take_while(|token| !matches!(token, TokenTree::Punct(p) if p.as_char() == ','));
    let names = first.filter_map(|token| match token {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    });
    names.last()
}

/// Fields and statics that a text writes to so that other threads see it, by their last names.
fn written(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        written(group.stream(), found);
        let Some([.., TokenTree::Ident(call)]) = tokens.get(..at) else {
            continue;
        };
        let call = call.to_string();
        let of_lock = ["read", "write"].contains(&&*call) && group.stream().is_empty();
        if group.delimiter() != Delimiter::Parenthesis || !(WRITES.contains(&&*call) || of_lock) {
            continue;
        }
        let before = &tokens[..at - 1];
        match before {
            // A method of what stands before.
            [.., TokenTree::Ident(name), TokenTree::Punct(dot)] if dot.as_char() == '.' => {
                found.insert(name.to_string());
            }
            [.., TokenTree::Punct(dot)] if dot.as_char() == '.' => {
                found.insert(call);
            }
            // Its definition, or a function of that name in the library.
            [.., TokenTree::Ident(word)] if word == "fn" => {}
            [.., TokenTree::Punct(colon)] if colon.as_char() == ':' => {}
            _ => {
                found.insert(last(group.stream().into_iter()).unwrap_or(call));
            }
        }
    }
}

fn written_in(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut found = BTreeSet::new();
    written(code.parse().unwrap(), &mut found);
    found
}

#[test]
fn a_write_is_seen_however_it_is_written() {
    for (text, name) in [
        (
            "fn f() { self.server.counters.busy.fetch_add(1, Relaxed); }",
            "busy",
        ),
        ("bump(&server.counters.frames_out, 1)", "frames_out"),
        ("let a = lock(&self.filling).dead;", "filling"),
        (
            "slots.get(1)?.state.compare_exchange_weak(a, b, c, d)",
            "state",
        ),
        ("self.servers.read().unwrap()", "servers"),
        ("if PLACES.swap(0, SeqCst) > 1 {}", "PLACES"),
        ("self.place(at).fetch_add(1, Relaxed)", "fetch_add"),
    ] {
        assert_eq!(
            written_in(text),
            BTreeSet::from([name.to_owned()]),
            "{text}"
        );
    }
    for text in [
        "std::mem::swap(&mut a, &mut b)",
        "fn lock(&self) {}",
        "file.read(&mut buffer)",
        "self.pending.load(SeqCst)",
        "\n#[cfg(test)]\nmod tests { fn f() { x.store(1) } }",
    ] {
        assert_eq!(written_in(text), BTreeSet::new(), "{text}");
    }
}

#[test]
fn each_word_that_is_shared_on_the_way_of_a_frame_is_in_the_table() {
    let native = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(native.join("../docs/decisions/cores.md")).unwrap();
    let table: Vec<_> = page
        .lines()
        .skip_while(|line| !line.starts_with("| words by their names in the sources |"))
        .take_while(|line| !line.is_empty())
        .collect();
    let listed: BTreeSet<_> = table
        .join("\n")
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    let mut found = BTreeSet::new();
    for file in WAY {
        found.extend(written_in(&fs::read_to_string(native.join(file)).unwrap()));
    }
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "shared with others on the way of a frame, and not in docs/decisions/cores.md: {new:?}; there, and not in the sources: {gone:?}"
    );
}
