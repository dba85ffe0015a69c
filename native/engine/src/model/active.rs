//! Credits: how many more frames a receiver wants, in the manner of `inet`'s `active` option.

/// The mode of delivery of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// Every frame is delivered as it comes.
    True,
    /// Nothing is delivered.
    False,
    /// One frame is delivered, then nothing, with no notice.
    Once,
    /// So many frames more, then a `passive` notice.
    Count(u16),
}

/// What became of a request for a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// Deliver it.
    Granted,
    /// Deliver it, and then tell that it was the last.
    Last,
    /// Keep it.
    Refused,
}

/// A change that `setopts` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetActive {
    /// Replace the mode.
    To(Active),
    /// Add to the count; a negative number takes away.
    Add(i32),
}

impl Active {
    /// Takes one credit.
    pub(crate) fn take(&mut self) -> Credit {
        match *self {
            Active::True => Credit::Granted,
            Active::False | Active::Count(0) => Credit::Refused,
            Active::Once => {
                *self = Active::False;
                Credit::Granted
            }
            Active::Count(1) => {
                *self = Active::False;
                Credit::Last
            }
            Active::Count(n) => {
                *self = Active::Count(n - 1);
                Credit::Granted
            }
        }
    }

    /// Whether the next frame would be delivered.
    pub(crate) fn has_credit(self) -> bool {
        !matches!(self, Active::False | Active::Count(0))
    }

    /// Applies a change. True if the count fell to zero, which the receiver is told.
    pub(crate) fn set(&mut self, change: SetActive) -> bool {
        match change {
            SetActive::To(to) => {
                *self = to;
                false
            }
            SetActive::Add(n) => {
                let now = match *self {
                    Active::Count(c) => i32::from(c),
                    _ => 0,
                };
                let sum = now.saturating_add(n).min(i32::from(i16::MAX));
                if sum <= 0 {
                    *self = Active::False;
                    true
                } else {
                    *self = Active::Count(sum as u16);
                    false
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_runs_out() {
        let mut active = Active::Count(2);
        assert_eq!(active.take(), Credit::Granted);
        assert_eq!(active.take(), Credit::Last);
        assert_eq!(active.take(), Credit::Refused);
        assert_eq!(active, Active::False);
    }

    #[test]
    fn once_is_one_without_notice() {
        let mut active = Active::Once;
        assert_eq!(active.take(), Credit::Granted);
        assert_eq!(active.take(), Credit::Refused);
    }

    #[test]
    fn counts_add_up() {
        let mut active = Active::Count(2);
        assert!(!active.set(SetActive::Add(3)));
        assert_eq!(active, Active::Count(5));
        assert!(active.set(SetActive::Add(-5)));
        assert_eq!(active, Active::False);
        assert!(!active.set(SetActive::Add(i32::MAX)));
        assert_eq!(active, Active::Count(i16::MAX as u16));
    }
}
