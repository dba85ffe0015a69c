//! A call of the VM that waits for its answer.

use std::sync::Arc;

use sockeye_seam::frames::SendFailure;
use sockeye_seam::{Atom, Etf, EtfTerm, Writer};

use crate::link::Link;

/// Who waits for an answer, if anybody does.
#[derive(Clone)]
pub(crate) struct ReplyTo {
    link: Arc<Link>,
    from: Option<Box<[u8]>>,
}

impl ReplyTo {
    pub(crate) fn new(link: &Arc<Link>, from: Option<Box<[u8]>>) -> Self {
        let link = link.clone();
        ReplyTo { link, from }
    }

    pub(crate) fn answer(&self, value: impl FnOnce(&mut Etf<'_>)) {
        if let Some(from) = &self.from {
            self.link.answer(from, value);
        }
    }

    pub(crate) fn ok(&self) {
        self.answer(|w| w.atom(Atom::ok));
    }

    /// `ok`, behind all that has been said before.
    pub(crate) fn ok_last(&self) {
        if let Some(from) = &self.from {
            self.link.answer_last(from, |w| w.atom(Atom::ok));
        }
    }

    /// `{error, Reason}`
    pub(crate) fn error(&self, why: Atom) {
        self.answer(|w| error(w, |w| w.atom(why)));
    }

    pub(crate) fn raise(&self) {
        if let Some(from) = &self.from {
            self.link.raise(from);
        }
    }
}

/// `{error, Reason}`
pub(crate) fn error(w: &mut Etf<'_>, reason: impl FnOnce(&mut Etf<'_>)) {
    w.tuple(2);
    w.atom(Atom::error);
    reason(w);
}

/// The reason of a message that was not taken.
pub(crate) fn reason(w: &mut Etf<'_>, failure: &SendFailure<EtfTerm<'_>>) {
    failure.reason(w, |w, part| part.copy_to(w.0));
}
