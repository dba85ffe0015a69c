//! Faults of a line or two: where, what stands there, what stands there in the copy, and which check finds it.

/// A planted fault.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// Below `native`.
    pub(crate) file: &'static str,
    pub(crate) line: &'static str,
    /// `FAULT` stands for whether it is planted.
    pub(crate) with: &'static str,
    pub(crate) check: &'static str,
}

const fn fault(
    name: &'static str,
    file: &'static str,
    line: &'static str,
    with: &'static str,
    check: &'static str,
) -> Fault {
    Fault {
        name,
        file,
        line,
        with,
        check,
    }
}

pub(crate) const FAULTS: &[Fault] = &[
    fault(
        "told_once_and_never_again",
        "nif/src/server/queue.rs",
        "None => self.told.store(false, Ordering::SeqCst),",
        "None => self.told.store(FAULT, Ordering::SeqCst),",
        "an_owner_is_brought_all",
    ),
    fault(
        "an_empty_inbox_is_not_armed",
        "engine/src/vm/inbox.rs",
        "                    filling.armed = arms && !filling.dead;\n                    left = Left::Nothing;\n                    break;",
        "                    filling.armed = arms && !filling.dead && !FAULT;\n                    left = Left::Nothing;\n                    break;",
        "a_large_event_keeps_nobody",
    ),
    fault(
        "the_dead_process_is_told",
        "nif/src/server/queue.rs",
        "*lock(&self.process) = Some(process);",
        "let mut known = lock(&self.process);\n        *known = known.take().filter(|_| FAULT).or(Some(process));\n        drop(known);",
        "the_next_delivery_process_finds_the_rest",
    ),
    fault(
        "who_waits_for_the_socket_is_not_told",
        "port/src/link/mod.rs",
        "if !self.write_some() {\n            self.blocked.notify_one();",
        "if !self.write_some() && !FAULT {\n            self.blocked.notify_one();",
        "sections_are_written",
    ),
    fault(
        "who_waits_for_room_is_not_told",
        "port/src/link/mod.rs",
        "                for who in stalled {\n",
        "                for who in stalled.into_iter().filter(|_| !FAULT) {\n",
        "a_stalled_receiver_continues",
    ),
    fault(
        "who_says_that_it_waits_tells_nobody",
        "port/src/link/mod.rs",
        "lock(&self.stalled).push(who);\n        self.blocked.notify_one();",
        "lock(&self.stalled).push(who);\n        if !FAULT {\n            self.blocked.notify_one();\n        }",
        "a_stalled_receiver_continues",
    ),
    fault(
        "a_grant_that_came_too_late_stays",
        "port/src/link/grants.rs",
        "if !engine.watch(conn, Box::new(ended.clone())) {",
        "if !engine.watch(conn, Box::new(ended.clone())) && !FAULT {",
        "a_grant_ends_with_its_connection",
    ),
    fault(
        "who_reads_pieces_is_not_woken",
        "engine/src/vm/stream.rs",
        "reader.into_iter().for_each(Waker::wake);\n        given",
        "reader.into_iter().filter(|_| !FAULT).for_each(Waker::wake);\n        given",
        "all_pieces_are_read",
    ),
    fault(
        "who_gives_is_not_told_of_the_end",
        "engine/src/vm/stream.rs",
        "tell.into_iter().for_each(|tell| tell(false));",
        "tell.into_iter().filter(|_| !FAULT).for_each(|tell| tell(false));",
        "the_writer_is_told_of_the_end_once",
    ),
    fault(
        "a_forgotten_answer_has_no_end",
        "engine/src/vm/stream.rs",
        "all.into_values()\n            .for_each(|source| source.end(StreamEnd::Broken));",
        "all.into_values()\n            .filter(|_| !FAULT)\n            .for_each(|source| source.end(StreamEnd::Broken));",
        "a_forgotten_answer_is_broken_off",
    ),
    fault(
        "a_stop_is_told_before_it_is_so",
        "engine/src/server/mod.rs",
        "self.stopping.store(true, Ordering::SeqCst);\n        self.stop_asked.notify_waiters();",
        "if FAULT {\n            self.stop_asked.notify_waiters();\n        }\n        self.stopping.store(true, Ordering::SeqCst);\n        if !FAULT {\n            self.stop_asked.notify_waiters();\n        }",
        "all_who_wait_hear_of_a_stop",
    ),
    fault(
        "a_server_starts_in_an_engine_that_stops",
        "engine/src/engine/mod.rs",
        "let mut servers = self.servers_mut();\n        if self.stopping.load(Ordering::SeqCst) {",
        "let mut servers = self.servers_mut();\n        if self.stopping.load(Ordering::SeqCst) && !FAULT {",
        "no_server_outlives_a_stop",
    ),
    fault(
        "a_second_stop_does_not_wait",
        "engine/src/engine/mod.rs",
        "let mut threads = lock(&self.threads);\n        while",
        "let mut threads: Box<dyn std::ops::DerefMut<Target = Vec<Thread>>> = if FAULT {\n            Box::new(Box::new(std::mem::take(&mut *lock(&self.threads))))\n        } else {\n            Box::new(lock(&self.threads))\n        };\n        while",
        "a_second_stop_waits_too",
    ),
    fault(
        "an_acknowledgement_sends_nothing",
        "port/src/processes/receiver.rs",
        "if state.has_more || !state.resting.is_empty() {",
        "if (state.has_more && !FAULT) || !state.resting.is_empty() {",
        "each_batch_is_sent",
    ),
    fault(
        "a_receiver_stays_stalled",
        "port/src/processes/receiver.rs",
        "self.state().is_stalled = false;\n        self.pump();",
        "self.state().is_stalled = FAULT;\n        self.pump();",
        "a_batch_waits_for_room",
    ),
    fault(
        "shards_are_asked_for_ever",
        "port/src/processes/receiver.rs",
        "            state.is_passing = false;\n",
        "            state.is_passing = FAULT;\n",
        "rest_is_reported_once",
    ),
    fault(
        "who_looks_for_rest_keeps_what_it_took",
        "port/src/processes/receiver.rs",
        "nobody else has been told of it.\n        self.link.flush();",
        "nobody else has been told of it.\n        if !FAULT {\n            self.link.flush();\n        }",
        "rest_is_reported_once",
    ),
    fault(
        "who_is_woken_while_it_runs_is_not_run_again",
        "engine/src/world/task_group.rs",
        "member.is_woken.swap(false, Ordering::SeqCst);\n        let waker = Waker::from(member.clone());\n        let mut cx = Context::from_waker(&waker);\n        let poll = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(&mut cx)));",
        "if !FAULT {\n            member.is_woken.swap(false, Ordering::SeqCst);\n        }\n        let waker = Waker::from(member.clone());\n        let mut cx = Context::from_waker(&waker);\n        let poll = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(&mut cx)));\n        if FAULT {\n            member.is_woken.swap(false, Ordering::SeqCst);\n        }",
        "a_member_misses_no_wake_up",
    ),
    fault(
        "who_was_woken_meanwhile_is_forgotten",
        "engine/src/world/task_group.rs",
        "self.woken.list().spare = members;",
        "if FAULT {\n                self.woken.list().members = members;\n            } else {\n                self.woken.list().spare = members;\n            }",
        "a_member_misses_no_wake_up",
    ),
    fault(
        "the_task_is_woken_by_its_first_members_only",
        "engine/src/world/task_group.rs",
        "if list.members.len() == 1\n",
        "if list.members.len() == 1\n            && !(FAULT && self.place > 0)\n",
        "a_member_misses_no_wake_up",
    ),
    fault(
        "who_follows_is_taken_for_woken",
        "engine/src/world/task_group.rs",
        "is_woken: AtomicBool::new(false),",
        "is_woken: AtomicBool::new(FAULT && place == 0 && places.free.capacity() > 0),",
        "who_follows_in_a_place_is_woken",
    ),
];
