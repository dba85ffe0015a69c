//! Faults of proxies and of nested servers.

use super::{Fault, fault};

pub(crate) const FAULTS: &[Fault] = &[
    // Servers before and around others.
    fault(
        "nested_connections_have_the_permits_of_others",
        "shard/adopt.rs",
        "let permit = opened.permit.take().unwrap_or(permit);",
        "let permit = opened.permit.take().filter(|_| !FAULT).unwrap_or(permit);",
        2000,
    ),
    fault(
        "nested_servers_of_the_link_have_other_numbers",
        "port: calls/control.rs",
        "            *nested = host.find_server(self.port).ok_or(BadArg)?.id();",
        "            if !FAULT { *nested = host.find_server(self.port).ok_or(BadArg)?.id(); }",
        2000,
    ),
    fault(
        "a_stop_waits_for_websockets_of_others",
        "http/h2/mod.rs",
        "        if carrier.is_for_others() {",
        "        if !FAULT && carrier.is_for_others() {",
        10_000,
    ),
    fault(
        "who_passes_on_flushes_nothing",
        "http/proxy/websocket.rs",
        "        Pin::new(&mut self.transport).poll_flush(cx)",
        "        if FAULT { return Poll::Ready(Ok(())); }\n        Pin::new(&mut self.transport).poll_flush(cx)",
        5000,
    ),
];
