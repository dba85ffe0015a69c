//! Settings of the server under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sockeye_protocol::Limits;
use sockeye_simulated_engine::{
    ConnectionRate, FileRules, MessageRate, Routes, ServerConfig, Target,
};

use super::tls;
use crate::clients::compression::policy;
use crate::model::http_content::{file, text};
use crate::plan::{Plan, proxy};

/// The settings.
pub(super) fn config(plan: &Plan) -> ServerConfig {
    let server = &plan.server;
    let mut config = ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), plan.mode);
    config.inbox_size = server.inbox_size;
    config.send_queue_size = server.send_queue_size;
    config.active = server.active;
    config.close_timeout = server.close_timeout;
    config.send_timeout = server.send_timeout;
    config.idle_timeout = server.idle_timeout;
    config.ping_interval = server.ping_interval;
    config.pong_timeout = server.pong_timeout;
    config.max_age = server.max_age;
    config.max_connections = server.max_connections;
    config.max_connections_per_address = server.per_address;
    config.control_frames = server.control_frames;
    config.asks = server.asks;
    config.close_slow = server.close_slow;
    config.limits = Limits::default().max_message_size(server.max_message);
    config.message_rate =
        server
            .rate
            .map(|(rate, burst, close)| MessageRate { rate, burst, close });
    if server.per_address != usize::MAX {
        config.connection_rate = Some(ConnectionRate {
            per_second: 2,
            burst: 2,
        });
    }
    config.deflate = server.deflate.as_ref().map(policy);
    if !plan.requesters.is_empty() {
        config.routes = routes();
    }
    config.http2_cleartext = !plan.http2_conns.is_empty() && plan.tls.is_none();
    config.tls = plan
        .tls
        .and_then(|_| tls::server(!plan.http2_conns.is_empty()));
    if plan.proxy.is_some() {
        config.trusted_proxies.add(proxy::ADDRESS, 32);
    }
    if plan.fair {
        config.handshake_timeout = Duration::from_secs(1000);
        config.accept_timeout = Duration::from_secs(1000);
        config.attach_timeout = Duration::from_secs(1000);
    }
    config
}

/// Routes of ordinary requests.
fn routes() -> Routes {
    let file = Target::File(file().into(), FileRules::default());
    let routes = vec![
        ("/text".to_owned(), Target::Text(text())),
        ("/file".to_owned(), file),
        ("/ask/*".to_owned(), Target::Ask),
    ];
    Routes::new(routes).unwrap_or_default()
}
