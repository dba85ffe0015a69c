//! Faults of one line: where, what stands there, and what stands there in the copy.

/// A planted fault.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// In `native/engine/src`.
    pub(crate) file: &'static str,
    pub(crate) line: &'static str,
    /// `FAULT` stands for whether it is planted.
    pub(crate) with: &'static str,
    /// It is found within so many seeds.
    pub(crate) seeds: u64,
}

const fn fault(
    name: &'static str,
    file: &'static str,
    line: &'static str,
    with: &'static str,
    seeds: u64,
) -> Fault {
    Fault {
        name,
        file,
        line,
        with,
        seeds,
    }
}

pub(crate) const FAULTS: &[Fault] = &[
    // Wake-ups.
    fault(
        "no_look_before_sleep",
        "shard/handle.rs",
        "let work = !self.ops.is_empty() || !self.controls.is_empty();",
        "let work = !FAULT && (!self.ops.is_empty() || !self.controls.is_empty());",
        2000,
    ),
    fault(
        "sleeper_not_woken",
        "shard/handle.rs",
        "if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {",
        "if !FAULT && self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {",
        200,
    ),
    fault(
        "room_is_not_told",
        "shard/mod.rs",
        "            .push_back(conn.clone());\n        self.wait_for(inbox);",
        "            .push_back(conn.clone());\n        if !FAULT { self.wait_for(inbox); }",
        500,
    ),
    fault(
        "inbox_not_armed",
        "vm/inbox.rs",
        "            if filling.batch.is_empty() {\n                filling.armed = arms && !filling.dead;\n                left = Left::Nothing;\n            }",
        "            if filling.batch.is_empty() {\n                filling.armed = arms && !filling.dead && !FAULT;\n                left = Left::Nothing;\n            }",
        500,
    ),
    fault(
        "full_socket_not_awaited",
        "shard/conn/io.rs",
        "if blocks || (done && lingers) {",
        "if !FAULT && (blocks || (done && lingers)) {",
        500,
    ),
    fault(
        "pace_does_not_go_on",
        "shard/conn/io.rs",
        "self.keep_pace(shard, state, cx);",
        "if !FAULT { self.keep_pace(shard, state, cx); }",
        2000,
    ),
    // Slots, counters, lists.
    fault(
        "slot_freed_twice",
        "shard/mod.rs",
        "self.free.borrow_mut().push(slot);",
        "self.free.borrow_mut().push(slot); if FAULT { self.free.borrow_mut().push(slot); }",
        200,
    ),
    fault(
        "slot_freed_too_early",
        "shard/conn/state.rs",
        "self.close_event == CloseEvent::Delivered && self.phase == Phase::Gone",
        "(FAULT || self.close_event == CloseEvent::Delivered) && self.phase == Phase::Gone",
        2000,
    ),
    fault(
        "permit_kept",
        "shard/conn/ending.rs",
        "self.server.release_permit(self.facts.peer_ip());",
        "if !FAULT { self.server.release_permit(self.facts.peer_ip()); }",
        200,
    ),
    fault(
        "socket_never_gone",
        "server/mod.rs",
        "            self.server.release_permit(self.address);\n            self.server.socket_closed();",
        "            self.server.release_permit(self.address);\n            if !FAULT { self.server.socket_closed(); }",
        2000,
    ),
    fault(
        "unattached_kept",
        "shard/conn/events.rs",
        "unattached.fetch_sub(1, Ordering::Relaxed);",
        "if !FAULT { unattached.fetch_sub(1, Ordering::Relaxed); }",
        200,
    ),
    fault(
        "question_kept",
        "vm/question.rs",
        "lock(&self.0.waiting).answers.remove(&self.1);",
        "if !FAULT { lock(&self.0.waiting).answers.remove(&self.1); }",
        5000,
    ),
    fault(
        "timer_kept",
        "shard/mod.rs",
        "self.timers.set(slot, timers::NEVER);",
        "if !FAULT { self.timers.set(slot, timers::NEVER); }",
        200,
    ),
    // Topics.
    fault(
        "subscription_kept",
        "shard/mod.rs",
        "        for topic in &left.topics {\n            self.unsubscribe(conn.id, topic);",
        "        for topic in &left.topics {\n            if !FAULT { self.unsubscribe(conn.id, topic); }",
        500,
    ),
    fault(
        "topic_not_left",
        "shard/mod.rs",
        "if conn.server.topics.leave(topic, self.handle.index) {",
        "if !FAULT && conn.server.topics.leave(topic, self.handle.index) {",
        500,
    ),
    // Credits and bounds.
    fault(
        "credit_not_taken",
        "model/active.rs",
        "*self = Active::Count(n - 1);",
        "*self = Active::Count(n - u16::from(!FAULT));",
        500,
    ),
    fault(
        "one_credit_too_many",
        "model/active.rs",
        "*self = Active::Count(sum as u16);",
        "*self = Active::Count(sum as u16 + u16::from(FAULT));",
        2000,
    ),
    fault(
        "queue_without_bound",
        "shard/slots.rs",
        "let fits = queued == 0 || queued + len as u64 <= limit;",
        "let fits = queued == 0 || FAULT || queued + len as u64 <= limit;",
        5000,
    ),
    fault(
        "bytes_not_released",
        "shard/conn/io.rs",
        "shard.handle.slots.release(self.id, n);",
        "shard.handle.slots.release(self.id, n - usize::from(FAULT && n > 100));",
        5000,
    ),
    // Order, and the end.
    fault(
        "overtakes_what_is_held",
        "shard/deliver.rs",
        "        let mut payload = Some(payload);\n        if self.held.is_none() && self.is_due() {",
        "        let mut payload = Some(payload);\n        if (FAULT || self.held.is_none()) && self.is_due() {",
        2000,
    ),
    fault(
        "half_close_is_normal",
        "shard/conn/io.rs",
        "self.await_answers(shard, state, peer_eof, code, &reason);",
        "self.await_answers(shard, state, peer_eof, if FAULT && code == 1006 { 1000 } else { code }, &reason);",
        500,
    ),
    fault(
        "no_close_timeout",
        "shard/conn/ending.rs",
        "state.deadline = shard.now() + ticks(self.server.config.close_timeout);\n        self.watch(shard, state);",
        "state.deadline = shard.now() + ticks(self.server.config.close_timeout);\n        if !FAULT { self.watch(shard, state); }",
        5000,
    ),
    fault(
        "answers_not_awaited",
        "shard/conn/ending.rs",
        "        state.stage.answer(peer_eof);\n        self.start_close_timeout(shard, state);",
        "        state.stage.answer(peer_eof);\n        self.start_close_timeout(shard, state);\n        if FAULT { state.deadline = 1; }",
        2000,
    ),
    fault(
        "death_before_its_frames",
        "shard/turn.rs",
        "Control::InboxDied(_) | Control::StopServer { .. } | Control::Connections { .. }",
        "Control::StopServer { .. } | Control::Connections { .. }\n        ) || (!FAULT && matches!(control, Control::InboxDied(_))",
        5000,
    ),
    fault(
        "drain_goes_on_listening",
        "server/mod.rs",
        "        if let Some(task) = listener.take() {\n            task.abort();",
        "        if let Some(task) = listener.take() {\n            if !FAULT { task.abort(); }",
        200,
    ),
    fault(
        "owner_not_told",
        "shard/schedule.rs",
        "Announcement::Moved(done) => done(),",
        "Announcement::Moved(done) => if !FAULT { done() },",
        2000,
    ),
];
