//! State that few connections need: for the others it is one null pointer.

use crate::model::pace::Pace;
use crate::model::trace::Traces;
use crate::settings::options::Rules;
use crate::shard::outbox::Outbox;

#[derive(Default)]
pub(super) struct Rare(Option<Box<Fields>>);

#[derive(Default)]
pub(super) struct Fields {
    /// Rules of its own.
    pub(super) own: Option<Box<Rules>>,
    /// How fast the peer may send; there while that is bounded.
    pub(super) pace: Option<Box<Pace>>,
    /// While a message is sent in pieces: the messages that wait for its end.
    pub(super) late: Option<Box<Outbox>>,
    /// Who watches its frames.
    pub(super) traces: Option<Box<Traces>>,
}

impl Fields {
    fn is_empty(&self) -> bool {
        let Fields {
            own,
            pace,
            late,
            traces,
        } = self;
        own.is_none() && pace.is_none() && late.is_none() && traces.is_none()
    }
}

impl Rare {
    #[inline]
    pub(super) fn get(&self) -> Option<&Fields> {
        self.0.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self) -> Option<&mut Fields> {
        self.0.as_deref_mut()
    }

    /// To put something into it.
    pub(super) fn fields(&mut self) -> &mut Fields {
        self.0.get_or_insert_default()
    }

    /// Takes something out of it, and gives back its memory when that was the last.
    pub(super) fn take<T>(
        &mut self,
        field: impl FnOnce(&mut Fields) -> &mut Option<Box<T>>,
    ) -> Option<Box<T>> {
        let fields = self.0.as_deref_mut()?;
        let taken = field(fields).take();
        if fields.is_empty() {
            self.0 = None;
        }
        taken
    }

    pub(super) fn own(&self) -> Option<&Rules> {
        self.get()?.own.as_deref()
    }

    pub(super) fn is_paced(&self) -> bool {
        self.get().is_some_and(|rare| rare.pace.is_some())
    }

    /// Rules of its own and its pace, which are needed at the same time.
    #[inline]
    pub(super) fn bounds(&mut self) -> (Option<&Rules>, Option<&mut Pace>) {
        match self.get_mut() {
            Some(Fields { own, pace, .. }) => (own.as_deref(), pace.as_deref_mut()),
            None => (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_nothing_has_no_memory() {
        let mut rare = Rare::default();
        assert!(rare.take(|rare| &mut rare.late).is_none());
        rare.fields().late = Some(Box::default());
        rare.fields().traces = Some(Box::default());
        assert!(rare.take(|rare| &mut rare.late).is_some());
        assert!(rare.get().is_some_and(|rare| rare.traces.is_some()));
        assert!(rare.take(|rare| &mut rare.traces).is_some());
        assert!(rare.get().is_none());
    }

    #[test]
    fn it_is_one_pointer() {
        assert_eq!(size_of::<Rare>(), size_of::<usize>());
    }
}
