//! Faults of one line: where, what stands there, and what stands there in the copy.

/// A planted fault.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// In `native/engine/src`, or with the name of another crate before it.
    pub(crate) file: &'static str,
    pub(crate) line: &'static str,
    /// `FAULT` stands for whether it is planted.
    pub(crate) with: &'static str,
    /// It is found within so many seeds.
    pub(crate) seeds: u64,
}

impl Fault {
    /// Below `native`.
    pub(crate) fn place(&self) -> String {
        match self.file.split_once(": ") {
            Some((name, file)) => format!("{name}/src/{file}"),
            None => format!("engine/src/{}", self.file),
        }
    }
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
        "server/sockets.rs",
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
        "let queued = state & QUEUED_MASK;",
        "let queued = if FAULT { 0 } else { state & QUEUED_MASK };",
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
    // The link of an engine in a process of its own.
    fault(
        "rest_before_shards_have_come_by",
        "port: receiver.rs",
        "        if is_settled {\n",
        "        if is_settled || FAULT {\n",
        5000,
    ),
    fault(
        "owners_forgotten_at_once",
        "port: host.rs",
        "receiver.when_at_rest(move || drop(last));",
        "if FAULT { drop(last); } else { receiver.when_at_rest(move || drop(last)); }",
        20_000,
    ),
    fault(
        "one_batch_too_many",
        "port: receiver.rs",
        "                credit: CREDIT,\n",
        "                credit: CREDIT + u8::from(FAULT),\n",
        200,
    ),
    fault(
        "acknowledged_and_not_sent",
        "port: receiver.rs",
        "if state.has_more || !state.resting.is_empty() {",
        "if !FAULT && (state.has_more || !state.resting.is_empty()) {",
        500,
    ),
    fault(
        "stalled_for_ever",
        "port: link.rs",
        "                for who in stalled {\n                    who.go_on();",
        "                for who in stalled {\n                    if FAULT { continue; }\n                    who.go_on();",
        2000,
    ),
    fault(
        "full_link_is_not_noticed",
        "port: link.rs",
        "(out.waiting() > FULL, out.large() > FULL)",
        "(out.waiting() > FULL && !FAULT, out.large() > FULL)",
        30_000,
    ),
    fault(
        "blocked_link_is_not_awaited",
        "port: link.rs",
        "        if !self.write_some() {\n            self.blocked.notify_one();",
        "        if !self.write_some() && !FAULT {\n            self.blocked.notify_one();",
        500,
    ),
    fault(
        "small_passes_large_of_its_own",
        "port: outgoing.rs",
        "Some(lane) => {\n                self.large += len;",
        "Some(_) if FAULT => self.part(kind, parts),\n            Some(lane) => {\n                self.large += len;",
        5000,
    ),
    fault(
        "last_piece_is_lost",
        "port: packets.rs",
        "                    whole.extend_from_slice(last);",
        "                    whole.extend_from_slice(last.get(usize::from(FAULT)..).unwrap_or_default());",
        2000,
    ),
    fault(
        "grant_is_not_taken_back",
        "port: grants.rs",
        "            lock(&given).remove(&conn);\n            say(&link, conn, 0);",
        "            lock(&given).remove(&conn);\n            if !FAULT { say(&link, conn, 0); }",
        2000,
    ),
    fault(
        "dead_process_is_kept",
        "port: processes.rs",
        "    pub(crate) fn remove(&self, id: u64) -> Option<Watched> {\n",
        "    pub(crate) fn remove(&self, id: u64) -> Option<Watched> {\n        if FAULT { return None; }\n",
        500,
    ),
    fault(
        "end_of_a_dialled_connection_is_not_told",
        "port: host.rs",
        "        self.tell(|w| dialled::disconnected(w, self.0.number, conn, &end));",
        "        if !FAULT { self.tell(|w| dialled::disconnected(w, self.0.number, conn, &end)); }",
        500,
    ),
    fault(
        "refused_piece_is_noted",
        "seam: calls/send.rs",
        "            engine.unstream(*conn, *undo);",
        "            if !FAULT { engine.unstream(*conn, *undo); }",
        2000,
    ),
    fault(
        "json_comes_as_text",
        "seam: events.rs",
        "                Ok(_) => Ok(Shape::Json),",
        "                Ok(_) => Ok(if FAULT { Shape::Text } else { Shape::Json }),",
        500,
    ),
    fault(
        "json_goes_as_binary",
        "seam: frames/mod.rs",
        "frame::seal(out, mark, Opcode::Text, mask);",
        "frame::seal(out, mark, if FAULT { Opcode::Binary } else { Opcode::Text }, mask);",
        500,
    ),
    // HTTP/2.
    fault(
        "end_of_a_stream_is_cut",
        "http/h2/wanted.rs",
        "self.open.0.streams.borrow_mut().answer(self.stream);",
        "if !FAULT { self.open.0.streams.borrow_mut().answer(self.stream); }",
        5000,
    ),
    fault(
        "question_outlives_its_server",
        "http/h2/wanted.rs",
        "if self.gone.get() && self.server.is_stopping() {",
        "if !FAULT && self.gone.get() && self.server.is_stopping() {",
        5000,
    ),
    fault(
        "full_stream_wakes_nobody",
        "http/tunnel.rs",
        "        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;\n        TOGETHER",
        "        let mut deaf = Context::from_waker(std::task::Waker::noop());\n        ready!(Pin::new(&mut self.stream).poll_flush(if FAULT { &mut deaf } else { cx }))?;\n        TOGETHER",
        2000,
    ),
    fault(
        "http2_takes_nobody",
        "http/h2/mod.rs",
        "        has_no_permit || self.server.is_draining()",
        "        FAULT || has_no_permit || self.server.is_draining()",
        500,
    ),
    fault(
        "stream_is_always_open",
        "http/h2/mod.rs",
        "        open.set(open.get().saturating_sub(1));",
        "        if !FAULT { open.set(open.get().saturating_sub(1)); }",
        2000,
    ),
    fault(
        "gathered_bytes_are_cut",
        "http/h2/mod.rs",
        "let waits = streams.is_waiting_for_process() || self.handover.is_stalled();",
        "let waits = streams.is_waiting_for_process() || (self.handover.is_stalled() && !FAULT);",
        5000,
    ),
    fault(
        "tls_keeps_what_is_not_flushed",
        "http/h2/transport.rs",
        "            self.written += written;\n            self.unflushed = true;",
        "            self.written += written;\n            self.unflushed = !FAULT;",
        2000,
    ),
    // Ordinary requests.
    fault(
        "head_has_content",
        "http/h1/mod.rs",
        "    if form.is_head {\n        body = Body::empty();",
        "    if form.is_head && !FAULT {\n        body = Body::empty();",
        500,
    ),
    fault(
        "head_has_content_on_a_stream",
        "http/h2/mod.rs",
        "            if is_head {\n",
        "            if is_head && !FAULT {\n",
        500,
    ),
    fault(
        "who_says_more_has_gone",
        "http/h1/connection.rs",
        "                Ok(1..) => {}\n                Ok(0) | Err(_) => return",
        "                Ok(1..) if !FAULT => {}\n                Ok(_) | Err(_) => return",
        500,
    ),
    // Answers in pieces.
    fault(
        "who_gives_a_piece_is_not_told",
        "vm/stream.rs",
        "tell.into_iter().for_each(|tell| tell(true));",
        "if !FAULT { tell.into_iter().for_each(|tell| tell(true)); }",
        500,
    ),
    fault(
        "answer_without_bound",
        "vm/stream.rs",
        "let given = if pipe.waiting.len() > ROOM {",
        "let given = if pipe.waiting.len() > ROOM && !FAULT {",
        5000,
    ),
    fault(
        "nobody_hears_that_a_client_has_gone",
        "vm/stream.rs",
        "gone.into_iter().for_each(|gone| gone());",
        "if !FAULT { gone.into_iter().for_each(|gone| gone()); }",
        2000,
    ),
    fault(
        "broken_answer_looks_whole",
        "vm/stream.rs",
        "            Some(StreamEnd::Broken) => {\n",
        "            Some(StreamEnd::Broken) if FAULT => Poll::Ready(None),\n            Some(StreamEnd::Broken) => {\n",
        500,
    ),
    fault(
        "end_before_the_last_piece",
        "vm/stream.rs",
        "        if !pipe.waiting.is_empty() {\n",
        "        if !pipe.waiting.is_empty() && !(FAULT && pipe.end.is_some()) {\n",
        500,
    ),
    fault(
        "reader_of_an_answer_is_not_woken",
        "vm/stream.rs",
        "        reader.into_iter().for_each(Waker::wake);\n        given",
        "        if !FAULT { reader.into_iter().for_each(Waker::wake); }\n        given",
        500,
    ),
    // Messages in pieces.
    fault(
        "pieces_wait_for_what_is_behind",
        "shard/slots.rs",
        "let fits = queued <= behind || queued + len as u64 <= limit + behind;",
        "let behind = if FAULT { 0 } else { behind };\n            let fits = queued <= behind || queued + len as u64 <= limit + behind;",
        5000,
    ),
    fault(
        "message_between_pieces",
        "shard/conn/sending.rs",
        "if head & 0x08 != 0 {",
        "if head & 0x08 != 0 || FAULT {",
        500,
    ),
    fault(
        "what_is_behind_is_lost",
        "shard/conn/sending.rs",
        "state.outbox.append(*late);",
        "if !FAULT { state.outbox.append(*late); }",
        5000,
    ),
    fault(
        "open_message_is_kept",
        "model/pieces.rs",
        "        if self.count.load(Ordering::SeqCst) > 0 {",
        "        if !FAULT && self.count.load(Ordering::SeqCst) > 0 {",
        2000,
    ),
];
