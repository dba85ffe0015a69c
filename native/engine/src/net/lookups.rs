//! Names of hosts that are looked up on one engine thread.
//!
//! A resolver whose servers do not answer holds a thread for half a minute, and there are not many threads: those who want the same
//! name wait for the same answer, and some threads are left to disks.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::sync::{Semaphore, watch};

use crate::net::fault::DialError;
use crate::world::collections::HashMap;
use crate::world::{names, task};

/// Names at once. Threads for disks and resolvers are 32.
const MOST: usize = 24;

/// Addresses of a name that are kept.
const ADDRESSES: usize = 64;

/// What the resolver says, once it has; None if it knows no address.
type Answer = Option<Option<Rc<[SocketAddr]>>>;

pub(crate) struct Lookups {
    threads: Semaphore,
    running: RefCell<HashMap<(String, u16), watch::Receiver<Answer>>>,
}

impl Default for Lookups {
    fn default() -> Self {
        Lookups {
            threads: Semaphore::new(MOST),
            running: RefCell::default(),
        }
    }
}

impl Lookups {
    /// The addresses of a host. Who waits no more takes nothing away from others who do.
    pub(crate) async fn of(
        self: &Rc<Self>,
        name: &str,
        port: u16,
    ) -> Result<Rc<[SocketAddr]>, DialError> {
        let mut answer = self.answer(name, port);
        let answer = answer.wait_for(Option::is_some).await;
        let found = answer.ok().and_then(|answer| answer.clone().flatten());
        found.ok_or(DialError::NoHost)
    }

    fn answer(self: &Rc<Self>, name: &str, port: u16) -> watch::Receiver<Answer> {
        let key = (name.to_owned(), port);
        let mut running = self.running.borrow_mut();
        if let Some(answer) = running.get(&key) {
            return answer.clone();
        }
        let (said, answer) = watch::channel(None);
        running.insert(key.clone(), answer.clone());
        let lookups = self.clone();
        task::spawn_local(async move {
            let found = lookups.ask(&key.0, key.1).await;
            lookups.running.borrow_mut().remove(&key);
            let _ = said.send(Some(found));
        });
        answer
    }

    async fn ask(&self, name: &str, port: u16) -> Option<Rc<[SocketAddr]>> {
        let _thread = self.threads.acquire().await.ok()?;
        let found = names::lookup_host((name, port)).await.ok()?;
        Some(found.take(ADDRESSES).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(Default::default());
        runtime.unwrap().block_on(work)
    }

    #[test]
    fn who_wants_the_same_name_waits_for_the_same_answer() {
        run(async {
            let lookups = Rc::new(Lookups::default());
            let none_left = lookups.threads.acquire_many(MOST as u32).await.unwrap();
            let (first, second) = (
                lookups.answer("localhost", 80),
                lookups.answer("localhost", 80),
            );
            assert!(first.same_channel(&second));
            assert!(!first.same_channel(&lookups.answer("localhost", 81)));
            assert_eq!(lookups.running.borrow().len(), 2);
            drop((first, none_left));
            let found = lookups.of("localhost", 80).await.unwrap();
            assert!(
                found
                    .iter()
                    .all(|at| at.ip().is_loopback() && at.port() == 80)
            );
            assert!(lookups.of("localhost", 81).await.is_ok());
            assert!(lookups.running.borrow().is_empty());
            assert_eq!(lookups.threads.available_permits(), MOST);
        });
    }

    #[test]
    fn a_name_without_an_address() {
        let found = run(async {
            let lookups = Rc::new(Lookups::default());
            lookups.of("no such name", 80).await
        });
        assert_eq!(found, Err(DialError::NoHost));
    }
}
