//! Interim responses: 103 and others.

use std::future::poll_fn;
use std::sync::Arc;

use hyper::ext::on_informational;
use hyper::{StatusCode, header::HeaderMap};
use tokio::sync::Notify;

use super::{Client, fields};
use crate::http::push_field;
use crate::model::lock::lock;
use crate::net::upstream::Upload;
use crate::world::sync::Mutex;

/// How many of them wait; others are left out, as any of them may be.
const MOST: usize = 8;

/// Those that have come, and are not passed on.
#[derive(Default)]
pub(super) struct EarlyAnswers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    heads: Mutex<Vec<Vec<u8>>>,
    said: Notify,
}

impl EarlyAnswers {
    pub(super) fn listen(&self, request: &mut hyper::Request<Upload>) {
        let shared = self.0.clone();
        on_informational(request, move |early| {
            // We ask the client to go on by ourselves.
            if early.status() == StatusCode::CONTINUE {
                return;
            }
            let mut heads = lock(&shared.heads);
            if heads.len() < MOST {
                heads.push(head(early.status(), early.headers().clone()));
                shared.said.notify_one();
            }
        });
    }

    /// Waits for more.
    pub(super) async fn said(&self) {
        self.0.said.notified().await;
    }

    pub(super) async fn pass_on(&self, client: &dyn Client) {
        let heads = std::mem::take(&mut *lock(&self.0.heads));
        for head in heads {
            let mut rest = head.as_slice();
            // A client that takes nothing is given up with its answer.
            let _ = poll_fn(|cx| client.poll_write(cx, &mut rest)).await;
        }
    }
}

fn head(status: StatusCode, mut headers: HeaderMap) -> Vec<u8> {
    fields::of_answer(&mut headers, false);
    let mut out = Vec::with_capacity(256);
    let reason = status.canonical_reason().unwrap_or_default();
    let line = ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"].concat();
    out.extend_from_slice(line.as_bytes());
    for (name, value) in &headers {
        push_field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out
}
