//! The state diagrams, step by step.

use std::collections::BTreeMap;

use super::*;

type Take = fn(&mut Stage);

const TRANSITIONS: [(Transition, Take); 5] = [
    (Transition::Answer, |stage| stage.answer(PeerEof::Awaited)),
    (Transition::Linger, |stage| stage.linger(PeerEof::Awaited)),
    (Transition::QueueCloseEvent, Stage::queue_close_event),
    (Transition::DeliverCloseEvent, Stage::deliver_close_event),
    (Transition::LoseSocket, Stage::lose_socket),
];

fn name(stage: Stage) -> String {
    let phase = match stage.phase {
        Phase::Open => "open",
        Phase::Answering(_) => "answering",
        Phase::Lingering { .. } => "lingering",
        Phase::Gone => "gone",
    };
    let void = if stage.is_id_void() { " void" } else { "" };
    let free = if stage.is_slot_free() { " free" } else { "" };
    format!("{phase} {:?}{void}{free}", stage.close_event).to_lowercase()
}

/// What can be reached from where. `void`: so is the id; `free`: so is the slot.
const PICTURE: &str = "\
answering delivered -> lingering delivered void
answering pending -> lingering pending, answering queued
answering queued -> lingering queued, answering delivered
gone delivered void free -> nothing
gone queued -> gone delivered void free
lingering delivered void -> gone delivered void free
lingering pending -> lingering queued
lingering queued -> lingering delivered void, gone queued
open pending -> answering pending, lingering pending";

#[test]
fn no_other_states_and_arrows_than_in_the_pictures() {
    let mut reached = BTreeMap::new();
    let mut ahead = vec![Stage::OPEN];
    while let Some(stage) = ahead.pop() {
        let mut next = Vec::new();
        for (transition, take) in TRANSITIONS {
            let mut after = stage;
            let take = std::panic::AssertUnwindSafe(|| take(&mut after));
            let is_taken = std::panic::catch_unwind(take).is_ok();
            if stage.allows(transition) {
                assert!(is_taken, "{transition:?} in {stage:?}");
                next.push(name(after));
                ahead.push(after);
            } else if cfg!(debug_assertions) {
                assert!(!is_taken, "{transition:?} in {stage:?}");
            }
        }
        let next = next.join(", ");
        let next = if next.is_empty() {
            "nothing".into()
        } else {
            next
        };
        reached.insert(name(stage), next);
    }
    let lines = reached.iter().map(|(from, to)| format!("{from} -> {to}"));
    assert_eq!(lines.collect::<Vec<_>>().join("\n"), PICTURE);
}

#[test]
fn the_peer_is_waited_for_until_it_hangs_up_or_there_is_no_time() {
    let at = |phase| Stage {
        phase,
        ..Stage::OPEN
    };
    let lingering = |peer_eof| Phase::Lingering {
        peer_eof,
        shut: false,
    };
    for phase in [Phase::Answering, lingering as fn(PeerEof) -> Phase] {
        for (before, no_time, seen) in [
            (PeerEof::Awaited, PeerEof::NotAwaited, PeerEof::Seen),
            (PeerEof::NotAwaited, PeerEof::NotAwaited, PeerEof::Seen),
            (PeerEof::Seen, PeerEof::Seen, PeerEof::Seen),
        ] {
            let mut now = at(phase(before));
            now.stop_waiting_for_eof();
            assert_eq!(now, at(phase(no_time)));
            now = at(phase(before));
            now.peer_eof_seen();
            assert_eq!(now, at(phase(seen)));
        }
    }
    for before in [at(Phase::Open), at(Phase::Gone)] {
        let mut now = before;
        now.stop_waiting_for_eof();
        now.peer_eof_seen();
        now.socket_shut();
        assert_eq!(now, before, "there is nothing to wait for yet, or any more");
    }
}

#[test]
fn only_who_has_answered_our_close_is_not_waited_for() {
    for by in [ClosedBy::Peer, ClosedBy::Violation, ClosedBy::Transport] {
        assert_eq!(PeerEof::Awaited.after_end(by), PeerEof::Awaited);
    }
    assert_eq!(
        PeerEof::Awaited.after_end(ClosedBy::Local),
        PeerEof::NotAwaited
    );
    assert_eq!(PeerEof::Seen.after_end(ClosedBy::Local), PeerEof::Seen);
}

#[test]
fn the_states_are_small() {
    assert!(size_of::<Stage>() <= 4);
    assert_eq!(size_of::<Writing>(), 8);
}
