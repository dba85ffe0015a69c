//! Faults of HTTP/2, of ordinary requests and their responses.

use super::{Fault, fault};

pub(crate) const FAULTS: &[Fault] = &[
    // HTTP/2.
    fault(
        "end_of_a_stream_is_cut",
        "http/h2/wanted.rs",
        "self.open.carrier.streams.borrow_mut().answer(self.stream);",
        "if !FAULT { self.open.carrier.streams.borrow_mut().answer(self.stream); }",
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
        "http/h2/connection.rs",
        "        has_no_permit || self.server.is_draining()",
        "        FAULT || has_no_permit || self.server.is_draining()",
        500,
    ),
    fault(
        "stream_is_always_open",
        "http/h2/connection.rs",
        "        open.set(open.get().saturating_sub(1));",
        "        if !FAULT { open.set(open.get().saturating_sub(1)); }",
        2000,
    ),
    fault(
        "gathered_bytes_are_cut",
        "http/h2/connection.rs",
        "let waits = streams.is_waiting_for_process() || self.handover.is_stalled();",
        "let waits = streams.is_waiting_for_process() || (self.handover.is_stalled() && !FAULT);",
        5000,
    ),
    fault(
        "slow_clients_hold_up_a_stop",
        "http/h2/connection.rs",
        "heard.checked_add(lingering::LINGER_TIMEOUT)",
        "heard.checked_add(if FAULT { std::time::Duration::from_secs(1 << 20) } else { lingering::LINGER_TIMEOUT })",
        20_000,
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
        "http/h2/requests.rs",
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
];
