//! What events have in them, made by the VM.

use rustler::sys::ErlNifTerm;
use sockeye_engine::{AcceptState, ConnId};
use sockeye_json::Error;
use sockeye_seam::settings::JsonOptions;
use sockeye_seam::{Atom, EventWriter, Writer};

use crate::atoms;
use crate::json::decode::decode;
use crate::json::values::DecodeContext;
use crate::terms::owned::OwnedTerm;

impl Writer for DecodeContext<'_> {
    type Term = ErlNifTerm;

    #[inline]
    fn atom(&mut self, atom: Atom) -> ErlNifTerm {
        atoms::named(atom)
    }

    #[inline]
    fn integer(&mut self, n: u64) -> ErlNifTerm {
        self.b.integer(n)
    }

    #[inline]
    fn binary(&mut self, bytes: &[u8]) -> ErlNifTerm {
        self.b.binary(bytes)
    }

    #[inline]
    fn tuple(&mut self, _arity: u32) {}

    #[inline]
    fn end_tuple(&mut self, parts: &[ErlNifTerm]) -> ErlNifTerm {
        Writer::end_tuple(&mut self.b, parts)
    }

    fn list(&mut self, _len: u32) {}

    fn end_list(&mut self, elements: &[ErlNifTerm]) -> ErlNifTerm {
        self.b.list(elements)
    }

    fn map(&mut self, _len: u32) {}

    fn end_map(&mut self, pairs: &[(ErlNifTerm, ErlNifTerm)]) -> ErlNifTerm {
        Writer::end_map(&mut self.b, pairs)
    }

    #[inline]
    fn conn(&mut self, conn: ConnId) -> ErlNifTerm {
        self.b.conn(conn)
    }
}

impl EventWriter for DecodeContext<'_> {
    #[inline]
    fn json(&mut self, text: &[u8], options: &JsonOptions) -> Result<ErlNifTerm, Error> {
        // SAFETY: a session delivers a text message only after it has found it to be UTF-8; the
        // engine keeps the bytes as they are. Checking again was 4 % of a 1 KB echo.
        let text = unsafe { std::str::from_utf8_unchecked(text) };
        decode(self, text, options)
    }

    fn kept(&mut self, state: &AcceptState) -> ErlNifTerm {
        match state.0.downcast_ref::<OwnedTerm>() {
            Some(state) => state.copy(self.b),
            None => atoms::named(Atom::undefined),
        }
    }

    /// What has been made is the VM's to forget.
    fn mark(&self) -> usize {
        0
    }

    fn rewind(&mut self, _mark: usize) {}
}
