//! Terms in external term format, for what reads terms of either host.

use std::borrow::Cow;

use sockeye_etf::Token;
use sockeye_json::Null;

use crate::atoms::Atom;
use crate::encode::encode;
use crate::etf_term::EtfTerm;
use crate::read::{EncodeError, IoError, Reader};

/// Looks at external term format.
#[derive(Clone, Copy, Debug)]
pub struct EtfReader {
    /// Names the process that calls.
    pub caller: u64,
}

/// The parts of a small tuple.
#[derive(Clone, Copy, Debug)]
pub struct EtfParts<'a> {
    parts: [EtfTerm<'a>; 4],
    len: usize,
}

impl<'a> AsRef<[EtfTerm<'a>]> for EtfParts<'a> {
    #[inline]
    fn as_ref(&self) -> &[EtfTerm<'a>] {
        self.parts.get(..self.len).unwrap_or_default()
    }
}

impl<'a> Reader<'a> for EtfReader {
    type Term = EtfTerm<'a>;
    type Parts = EtfParts<'a>;

    #[inline]
    fn is(self, term: EtfTerm<'a>, atom: Atom) -> bool {
        matches!(term.token(), Some(Token::Atom(name)) if name.is(atom.name()))
    }

    fn is_map(self, term: EtfTerm<'a>) -> bool {
        matches!(term.token(), Some(Token::Map(_)))
    }

    #[inline]
    fn parts(self, term: EtfTerm<'a>) -> Option<EtfParts<'a>> {
        let mut cursor = term.cursor()?;
        let Ok(Token::Tuple(arity)) = cursor.token() else {
            return None;
        };
        let len = arity as usize;
        let mut parts = [EtfTerm::new(cursor); 4];
        for (i, part) in parts.get_mut(..len)?.iter_mut().enumerate() {
            *part = EtfTerm::new(cursor);
            // Nobody asks where the last one ends.
            if i + 1 < len {
                cursor.term().ok()?;
            }
        }
        Some(EtfParts { parts, len })
    }

    #[inline]
    fn unsigned(self, term: EtfTerm<'a>) -> Option<u64> {
        match term.token()? {
            Token::Integer(n) => u64::try_from(n).ok(),
            Token::Big(false, magnitude) => {
                let mut low = [0; 8];
                low.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
                Some(u64::from_le_bytes(low))
            }
            _ => None,
        }
    }

    fn int(self, term: EtfTerm<'a>) -> Option<i32> {
        term.int()
    }

    #[inline]
    fn bytes(self, term: EtfTerm<'a>) -> Option<&'a [u8]> {
        match term.token()? {
            Token::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    #[inline]
    fn cell(self, list: EtfTerm<'a>) -> Option<(EtfTerm<'a>, EtfTerm<'a>)> {
        list.cell()
    }

    fn is_nil(self, term: EtfTerm<'a>) -> bool {
        matches!(
            term.token(),
            Some(Token::Nil | Token::Bytes([]) | Token::List(0))
        )
    }

    fn iolist(self, term: EtfTerm<'a>, limit: usize) -> Result<Cow<'a, [u8]>, IoError> {
        term.iolist(limit)
    }

    fn json(
        self,
        term: EtfTerm<'a>,
        null: Null,
        _limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError<EtfTerm<'a>>> {
        encode(term, null, out)
    }

    #[inline]
    fn is_same(self, a: EtfTerm<'a>, b: EtfTerm<'a>) -> bool {
        a.is_same(b)
    }

    fn caller(self) -> u64 {
        self.caller
    }
}
