//! The seam's terms, made by the VM.

use rustler::sys::ErlNifTerm;
use sockeye_seam::{Atom, Writer};

use crate::atoms;
use crate::terms::{Builder, map};

/// The whole is made out of its parts when it ends.
impl Writer for Builder<'_> {
    type Term = ErlNifTerm;

    #[inline]
    fn atom(&mut self, atom: Atom) -> ErlNifTerm {
        atoms::named(atom)
    }

    #[inline]
    fn integer(&mut self, n: u64) -> ErlNifTerm {
        Builder::integer(*self, n)
    }

    #[inline]
    fn binary(&mut self, bytes: &[u8]) -> ErlNifTerm {
        Builder::binary(*self, bytes)
    }

    #[inline]
    fn tuple(&mut self, _arity: u32) {}

    #[inline]
    fn end_tuple(&mut self, parts: &[ErlNifTerm]) -> ErlNifTerm {
        self.tuple_of(parts)
    }

    fn list(&mut self, _len: u32) {}

    fn end_list(&mut self, elements: &[ErlNifTerm]) -> ErlNifTerm {
        Builder::list(*self, elements)
    }

    fn map(&mut self, _len: u32) {}

    fn end_map(&mut self, pairs: &[(ErlNifTerm, ErlNifTerm)]) -> ErlNifTerm {
        map(*self, pairs)
    }

    #[inline]
    fn conn(&mut self, conn: sockeye_engine::ConnId) -> ErlNifTerm {
        Builder::conn(*self, conn)
    }
}
