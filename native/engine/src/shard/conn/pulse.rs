//! Whether the peer is still there: silence, pings and age, in steps of the shard's clock.

use sockeye_protocol::frame::{self, Opcode};
use std::rc::Rc;

use super::Conn;
use super::state::Phase;
use crate::model::clock::steps;
use crate::settings::options::Times;
use crate::shard::Shard;

/// Signs of life of the peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulse {
    /// When something came last.
    heard: u32,
    /// When the ping went that nothing has come after; 0 for none.
    asked: u32,
    /// A ping of ours is unanswered: its pong is no news for the receiver.
    pub(super) pong_due: bool,
}

/// What the clock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing before then.
    Wait(u32),
    Ping,
    Over(&'static str),
    /// As over, but the peer is there and may answer.
    TooOld,
}

impl Pulse {
    /// Something came from the peer.
    pub(super) fn hear(&mut self, now: u32) {
        self.heard = now;
        self.asked = 0;
    }

    /// A socket that was full has taken bytes: somebody reads, but has not come to our ping yet.
    pub(super) fn made_progress(&mut self, now: u32) {
        self.heard = now;
        if self.asked != 0 {
            self.asked = now;
        }
    }

    fn judge(&self, times: &Times, opened: u32, now: u32) -> Verdict {
        let silence = now.saturating_sub(self.heard);
        let age = now.saturating_sub(opened);
        if age >= times.age {
            return Verdict::TooOld;
        }
        if silence >= times.idle {
            return Verdict::Over("idle timeout");
        }
        let next = if self.asked != 0 {
            if now.saturating_sub(self.asked) >= times.pong {
                return Verdict::Over("ping timeout");
            }
            self.asked.saturating_add(times.pong)
        } else if silence >= times.ping {
            return Verdict::Ping;
        } else {
            self.heard.saturating_add(times.ping)
        };
        Verdict::Wait(
            next.min(self.heard.saturating_add(times.idle))
                .min(opened.saturating_add(times.age)),
        )
    }
}

impl Conn {
    /// The connection begins now.
    pub(crate) fn begin(self: &Rc<Self>, shard: &Shard) {
        self.state.borrow_mut().pulse.hear(shard.now());
        self.attend(shard);
    }

    /// Looks whether the peer is still there, and makes the next appointment.
    pub(crate) fn attend(self: &Rc<Self>, shard: &Shard) {
        let now = shard.now();
        let mut state = self.state.borrow_mut();
        if state.phase != Phase::Open || !state.session.is_open() {
            return;
        }
        if state.is_held_back() {
            // Whatever the peer says lies unread: the silence is ours.
            state.pulse.hear(now);
        }
        let opened = steps(self.facts.opened());
        let times = state.rules(self).times;
        let mut verdict = state.pulse.judge(&times, opened, now);
        if verdict == Verdict::Ping {
            state.pulse.asked = now;
            state.pulse.pong_due = true;
            let mut ping = Vec::with_capacity(2);
            frame::write(&mut ping, Opcode::Ping, b"", state.session.role().mask());
            self.owe(shard, &mut state, &ping);
            verdict = state.pulse.judge(&times, opened, now);
        }
        drop(state);
        match verdict {
            Verdict::Wait(due) => shard.appoint(self, due),
            Verdict::Over(reason) => self.fail(shard, 1001, reason),
            Verdict::TooOld => self.close(shard, 1001, "max age"),
            Verdict::Ping => {}
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

    fn heard(heard: u32) -> Pulse {
        Pulse {
            heard,
            ..Pulse::default()
        }
    }

    #[test]
    fn idle_at_less_equal_and_more() {
        let times = times(10, FAR, FAR, FAR);
        for (now, verdict) in [
            (100, Verdict::Wait(110)),
            (109, Verdict::Wait(110)),
            (110, Verdict::Over("idle timeout")),
            (111, Verdict::Over("idle timeout")),
        ] {
            assert_eq!(heard(100).judge(&times, 100, now), verdict, "{now}");
        }
    }

    #[test]
    fn a_ping_at_less_equal_and_more() {
        let times = times(FAR, 10, 5, FAR);
        for (now, verdict) in [
            (109, Verdict::Wait(110)),
            (110, Verdict::Ping),
            (111, Verdict::Ping),
        ] {
            assert_eq!(heard(100).judge(&times, 100, now), verdict, "{now}");
        }
    }

    #[test]
    fn no_answer_at_less_equal_and_more() {
        let times = times(FAR, 10, 5, FAR);
        let pulse = Pulse {
            heard: 100,
            asked: 110,
            pong_due: true,
        };
        for (now, verdict) in [
            (110, Verdict::Wait(115)),
            (114, Verdict::Wait(115)),
            (115, Verdict::Over("ping timeout")),
            (116, Verdict::Over("ping timeout")),
        ] {
            assert_eq!(pulse.judge(&times, 100, now), verdict, "{now}");
        }
    }

    #[test]
    fn age_at_less_equal_and_more() {
        let times = times(FAR, FAR, FAR, 10);
        for (now, verdict) in [
            (109, Verdict::Wait(110)),
            (110, Verdict::TooOld),
            (111, Verdict::TooOld),
        ] {
            assert_eq!(heard(now).judge(&times, 100, now), verdict, "{now}");
        }
    }

    #[test]
    fn the_first_of_all_times_is_next() {
        let pulse = heard(100);
        assert_eq!(
            pulse.judge(&times(30, 20, 5, 90), 50, 101),
            Verdict::Wait(120)
        );
        assert_eq!(
            pulse.judge(&times(15, 20, 5, 90), 50, 101),
            Verdict::Wait(115)
        );
        assert_eq!(
            pulse.judge(&times(30, 20, 5, 60), 50, 101),
            Verdict::Wait(110)
        );
        assert_eq!(
            pulse.judge(&times(FAR, FAR, 5, FAR), 50, 101),
            Verdict::Wait(50 + FAR)
        );
    }

    #[test]
    fn what_comes_answers_and_what_leaves_only_puts_off() {
        let times = times(FAR, 10, 5, FAR);
        let mut pulse = Pulse {
            heard: 100,
            asked: 110,
            pong_due: true,
        };
        pulse.made_progress(113);
        assert_eq!(pulse.judge(&times, 100, 117), Verdict::Wait(118));
        assert_eq!(pulse.judge(&times, 100, 118), Verdict::Over("ping timeout"));
        pulse.hear(118);
        assert_eq!(pulse.judge(&times, 100, 127), Verdict::Wait(128));
        assert_eq!(pulse.judge(&times, 100, 128), Verdict::Ping);
    }
}
