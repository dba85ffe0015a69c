//! Asks the virtual machine while a client waits, with a deadline.

use std::time::Duration;

use sockeye_protocol::handshake::Refusal;
use tokio::sync::oneshot::error::TryRecvError;

use crate::server::Server;
use crate::vm::question::{Answer, Question};
use crate::world::time;

/// The virtual machine keeps the deadline itself, and ends what took too long. It gets this much
/// longer to say so.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait before asking again when nobody was there: the first time, and at most.
const RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_millis(80);

/// The longest that a question takes.
pub(crate) fn limit(server: &Server) -> Duration {
    server.config.accept_timeout.saturating_add(GRACE)
}

/// Asks the virtual machine. Without an answer in time, what there is to say is 503.
pub(crate) async fn ask(server: &Server, question: &Question<'_>) -> Result<Answer, Refusal> {
    let unavailable = |why: &str| Err(Refusal::new(503, why).with_header("Retry-After", "1"));
    let asked = async {
        'ask: loop {
            let Some((token, mut answer)) = server.questions.open() else {
                return unavailable("Too many requests are waiting for an answer.\n");
            };
            let _pending = server.questions.pending(token);
            let mut pause = RETRY;
            // There is nobody yet when the server starts, and for a moment when the one who
            // answered has died; and no room while much waits for the virtual machine.
            while !server.host.ask(token, question) {
                time::sleep(pause).await;
                pause = (2 * pause).min(LAST_RETRY);
                // Forgotten with what the last one was asked: this one has not heard of it.
                if matches!(answer.try_recv(), Err(TryRecvError::Closed)) {
                    continue 'ask;
                }
            }
            let answer = answer.await;
            return answer.or_else(|_| unavailable("Nobody is there to answer.\n"));
        }
    };
    let asked = time::timeout(limit(server), asked).await;
    asked.unwrap_or_else(|_| unavailable("The answer took too long.\n"))
}
