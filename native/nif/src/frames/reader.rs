//! The seam's reader of terms, by the calls of the VM.

use std::borrow::Cow;

use rustler::Env;
use rustler::sys::{ErlNifTerm, enif_get_int};
use sockeye_json::Null;
use sockeye_seam::Reader;
use sockeye_seam::read::{EncodeError as NoJson, IoError};

use crate::atoms;
use crate::frames::iolist::{flatten, iolist_exceeds};
use crate::json::encode::{self, CallId, EncodeError};
use crate::terms::Builder;

/// Looks at the terms of a call.
#[derive(Clone, Copy)]
pub(crate) struct TermReader<'e> {
    pub(crate) b: Builder<'e>,
    call: CallId,
}

impl<'e> TermReader<'e> {
    pub(crate) fn of(env: Env<'e>) -> Self {
        TermReader {
            b: Builder::of(env),
            call: CallId::new(),
        }
    }
}

impl<'e> Reader<'e> for TermReader<'e> {
    type Term = ErlNifTerm;
    type Parts = &'e [ErlNifTerm];

    #[inline]
    fn is(self, term: ErlNifTerm, atom: sockeye_seam::Atom) -> bool {
        term == atoms::named(atom)
    }

    #[inline]
    fn is_map(self, term: ErlNifTerm) -> bool {
        self.b.is_map(term)
    }

    #[inline]
    fn parts(self, term: ErlNifTerm) -> Option<&'e [ErlNifTerm]> {
        self.b.elements(term)
    }

    #[inline]
    fn unsigned(self, term: ErlNifTerm) -> Option<u64> {
        self.b.as_u64(term)
    }

    fn int(self, term: ErlNifTerm) -> Option<i32> {
        let mut n = 0;
        // SAFETY: `n` is written when the result is not 0.
        (unsafe { enif_get_int(self.b.env, term, &mut n) } != 0).then_some(n)
    }

    #[inline]
    fn bytes(self, term: ErlNifTerm) -> Option<&'e [u8]> {
        self.b.bytes(term)
    }

    #[inline]
    fn cell(self, list: ErlNifTerm) -> Option<(ErlNifTerm, ErlNifTerm)> {
        self.b.cell(list)
    }

    fn is_nil(self, term: ErlNifTerm) -> bool {
        self.b.is_nil(term)
    }

    #[inline]
    fn iolist(self, term: ErlNifTerm, limit: usize) -> Result<Cow<'e, [u8]>, IoError> {
        let bytes = match self.b.bytes(term) {
            Some(bytes) => bytes,
            // Flattening takes time that the limit must bound before it starts.
            None if limit != usize::MAX && iolist_exceeds(self.b, term, limit) => {
                return Err(IoError::TooLarge);
            }
            None => flatten(self.b, term).ok_or(IoError::BadArg)?,
        };
        if bytes.len() > limit {
            return Err(IoError::TooLarge);
        }
        Ok(Cow::Borrowed(bytes))
    }

    #[inline]
    fn json(
        self,
        term: ErlNifTerm,
        null: Null,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), NoJson<ErlNifTerm>> {
        let encoded = encode::encode(self.b.env, self.call, term, null, limit, out);
        encoded.map_err(|error| match error {
            // The part says it all.
            EncodeError::NotJson(part) => NoJson::NotJson(part),
            EncodeError::TooLarge => NoJson::TooLarge,
        })
    }

    #[inline]
    fn is_same(self, a: ErlNifTerm, b: ErlNifTerm) -> bool {
        a == b
    }

    fn caller(self) -> u64 {
        self.b.caller()
    }

    #[inline]
    fn conn(self, term: ErlNifTerm) -> Option<sockeye_engine::ConnId> {
        self.b.as_conn(term)
    }
}
