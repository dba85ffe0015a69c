//! Whether the peer is still there: silence, pings and age, in steps of the shard's clock.

use sockeye_protocol::Role;
use sockeye_protocol::frame::{self, Opcode};
use std::rc::Rc;

use super::Conn;
use super::state::Phase;
use crate::model::clock::steps;
use crate::settings::options::Times;
use crate::shard::Shard;

/// A ping may go by this part of its interval early, and by no more than a second, so that those of many connections go
/// together: the answers then come together, too, and share a wake-up of the shard.
const EARLY: u32 = 25;
const MOST_EARLY: u32 = 10;

/// The times at which pings go that are to go at this time or a little before.
fn together(due: u32, interval: u32) -> u32 {
    match due.checked_rem((interval / EARLY).clamp(1, MOST_EARLY)) {
        // Half of the clock's range stands for never.
        Some(early) if due < u32::MAX / 2 => due - early,
        _ => due,
    }
}

/// Signs of life of the peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeepAlive {
    /// When something came last.
    last_received: u32,
    /// When the ping went that nothing has come after; 0 for none.
    pinged: u32,
    /// A ping of ours is unanswered: its pong is no news for the receiver.
    pub(super) pong_due: bool,
}

/// What the clock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing before then.
    Wait(u32),
    Ping,
    Over(&'static str),
    /// As over, but the peer is there and may answer.
    TooOld,
}

impl KeepAlive {
    /// Something came from the peer.
    pub(super) fn received(&mut self, now: u32) {
        self.last_received = now;
        self.pinged = 0;
    }

    /// A socket that was full has taken bytes: somebody reads, but has not come to our ping yet.
    pub(super) fn made_progress(&mut self, now: u32) {
        self.last_received = now;
        if self.pinged != 0 {
            self.pinged = now;
        }
    }

    fn due(&self, times: &Times, opened: u32, now: u32) -> Due {
        let silence = now.saturating_sub(self.last_received);
        let age = now.saturating_sub(opened);
        if age >= times.age {
            return Due::TooOld;
        }
        if silence >= times.idle {
            return Due::Over("idle timeout");
        }
        let next = if self.pinged != 0 {
            if now.saturating_sub(self.pinged) >= times.pong {
                return Due::Over("ping timeout");
            }
            self.pinged.saturating_add(times.pong)
        } else {
            let due = together(self.last_received.saturating_add(times.ping), times.ping);
            if now >= due {
                return Due::Ping;
            }
            due
        };
        Due::Wait(
            next.min(self.last_received.saturating_add(times.idle))
                .min(opened.saturating_add(times.age)),
        )
    }
}

impl Conn {
    /// The connection begins now.
    pub(crate) fn begin(self: &Rc<Self>, shard: &Shard) {
        self.state.borrow_mut().keep_alive.received(shard.now());
        self.check_keep_alive(shard);
    }

    /// Looks whether the peer is still there, and sets the next timer.
    pub(crate) fn check_keep_alive(self: &Rc<Self>, shard: &Shard) {
        let now = shard.now();
        let mut state = self.state.borrow_mut();
        if state.stage.phase() != Phase::Open || !state.session.is_open() {
            return;
        }
        if state.is_held_back() {
            // Whatever the peer says lies unread: the silence is ours.
            state.keep_alive.received(now);
        }
        let opened = steps(self.facts.opened());
        let times = state.rules(self).times;
        let mut due = state.keep_alive.due(&times, opened, now);
        if due == Due::Ping {
            state.keep_alive.pinged = now;
            state.keep_alive.pong_due = true;
            match state.session.role() {
                Role::Server => self.owe_part(shard, &mut state, shard.ping.whole()),
                role => {
                    let mut ping = Vec::with_capacity(6);
                    frame::write(&mut ping, Opcode::Ping, b"", role.mask());
                    self.owe(shard, &mut state, &ping);
                }
            }
            due = state.keep_alive.due(&times, opened, now);
        }
        drop(state);
        match due {
            Due::Wait(due) => shard.set_timer(self, due),
            Due::Over(reason) => self.fail(shard, 1001, reason),
            Due::TooOld => self.close(shard, 1001, "max age"),
            Due::Ping => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u32 = u32::MAX / 2;

    fn times(idle: u32, ping: u32, pong: u32, age: u32) -> Times {
        Times {
            idle,
            ping,
            pong,
            age,
        }
    }

    fn last_received(last_received: u32) -> KeepAlive {
        KeepAlive {
            last_received,
            ..KeepAlive::default()
        }
    }

    #[test]
    fn idle_at_less_equal_and_more() {
        let times = times(10, FAR, FAR, FAR);
        for (now, due) in [
            (100, Due::Wait(110)),
            (109, Due::Wait(110)),
            (110, Due::Over("idle timeout")),
            (111, Due::Over("idle timeout")),
        ] {
            assert_eq!(last_received(100).due(&times, 100, now), due, "{now}");
        }
    }

    #[test]
    fn a_ping_at_less_equal_and_more() {
        let times = times(FAR, 10, 5, FAR);
        for (now, due) in [(109, Due::Wait(110)), (110, Due::Ping), (111, Due::Ping)] {
            assert_eq!(last_received(100).due(&times, 100, now), due, "{now}");
        }
    }

    #[test]
    fn pings_that_are_due_at_about_the_same_time_go_together() {
        // A step of two: what came one after the other is pinged with one that came just before.
        let times = times(FAR, 50, 5, FAR);
        for (last, due) in [(49, 98), (50, 100), (51, 100), (52, 102)] {
            let keep_alive = last_received(last);
            assert_eq!(
                keep_alive.due(&times, 40, due - 1),
                Due::Wait(due),
                "{last}"
            );
            assert_eq!(keep_alive.due(&times, 40, due), Due::Ping, "{last}");
            assert_eq!(keep_alive.due(&times, 40, due + 1), Due::Ping, "{last}");
        }
        // Each in its own step of the clock below that; never at once after something has come.
        for ping in [1, 24, 25, 49] {
            let times = super::tests::times(FAR, ping, 5, FAR);
            let due = Due::Wait(100 + ping);
            assert_eq!(last_received(100).due(&times, 40, 99 + ping), due, "{ping}");
        }
        // Never before a 25th is left, and a second.
        for last in 1000..2000 {
            for (ping, early) in [(250, 10), (2500, 10), (100, 4)] {
                let due = last + ping;
                assert!(
                    (due - early + 1..=due).contains(&together(due, ping)),
                    "{last} {ping}"
                );
            }
        }
    }

    #[test]
    fn no_answer_at_less_equal_and_more() {
        let times = times(FAR, 10, 5, FAR);
        let keep_alive = KeepAlive {
            last_received: 100,
            pinged: 110,
            pong_due: true,
        };
        for (now, due) in [
            (110, Due::Wait(115)),
            (114, Due::Wait(115)),
            (115, Due::Over("ping timeout")),
            (116, Due::Over("ping timeout")),
        ] {
            assert_eq!(keep_alive.due(&times, 100, now), due, "{now}");
        }
    }

    #[test]
    fn age_at_less_equal_and_more() {
        let times = times(FAR, FAR, FAR, 10);
        for (now, due) in [
            (109, Due::Wait(110)),
            (110, Due::TooOld),
            (111, Due::TooOld),
        ] {
            assert_eq!(last_received(now).due(&times, 100, now), due, "{now}");
        }
    }

    #[test]
    fn the_first_of_all_times_is_next() {
        let keep_alive = last_received(100);
        assert_eq!(
            keep_alive.due(&times(30, 20, 5, 90), 50, 101),
            Due::Wait(120)
        );
        assert_eq!(
            keep_alive.due(&times(15, 20, 5, 90), 50, 101),
            Due::Wait(115)
        );
        assert_eq!(
            keep_alive.due(&times(30, 20, 5, 60), 50, 101),
            Due::Wait(110)
        );
        assert_eq!(
            keep_alive.due(&times(FAR, FAR, 5, FAR), 50, 101),
            Due::Wait(50 + FAR)
        );
    }

    #[test]
    fn input_answers_a_ping_and_output_only_delays_it() {
        let times = times(FAR, 10, 5, FAR);
        let mut keep_alive = KeepAlive {
            last_received: 100,
            pinged: 110,
            pong_due: true,
        };
        keep_alive.made_progress(113);
        assert_eq!(keep_alive.due(&times, 100, 117), Due::Wait(118));
        assert_eq!(keep_alive.due(&times, 100, 118), Due::Over("ping timeout"));
        keep_alive.received(118);
        assert_eq!(keep_alive.due(&times, 100, 127), Due::Wait(128));
        assert_eq!(keep_alive.due(&times, 100, 128), Due::Ping);
    }
}
