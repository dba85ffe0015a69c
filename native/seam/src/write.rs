//! Terms are written from the outside in: a tuple, list or map is begun, its parts are written, and it is ended.
//!
//! A host that appends bytes has written all when the parts are; one that has the VM make terms makes the whole out of them. So
//! either does what it would do if it were the only one:
//!
//! ```
//! use sockeye_seam::{Atom, Etf, Writer};
//!
//! fn told<W: Writer>(w: &mut W) -> W::Term {
//!     w.tuple(2);
//!     let parts = [w.atom(Atom::ok), w.integer(7)];
//!     w.end_tuple(&parts)
//! }
//!
//! let mut out = Vec::new();
//! told(&mut Etf(&mut out));
//! assert_eq!(out, b"\x68\x02\x77\x02ok\x61\x07");
//! ```

use sockeye_engine::{AcceptState, ConnId};
use sockeye_etf as etf;
use sockeye_json::{BinaryKeys, Error as JsonError};

use crate::atoms::Atom;
use crate::settings::{JsonOptions, KeyMode};

/// Writes terms.
pub trait Writer {
    /// A term, or that it is written.
    type Term: Copy;

    /// An atom.
    fn atom(&mut self, atom: Atom) -> Self::Term;
    /// An integer.
    fn integer(&mut self, n: u64) -> Self::Term;
    /// A binary.
    fn binary(&mut self, bytes: &[u8]) -> Self::Term;
    /// A tuple of so many parts begins.
    fn tuple(&mut self, arity: u32);
    /// It ends.
    fn end_tuple(&mut self, parts: &[Self::Term]) -> Self::Term;
    /// A list of so many elements begins.
    fn list(&mut self, len: u32);
    /// It ends.
    fn end_list(&mut self, elements: &[Self::Term]) -> Self::Term;
    /// A map of so many pairs begins, whose keys differ.
    fn map(&mut self, len: u32);
    /// It ends.
    fn end_map(&mut self, pairs: &[(Self::Term, Self::Term)]) -> Self::Term;
    /// A boolean.
    fn boolean(&mut self, value: bool) -> Self::Term {
        self.atom(if value { Atom::true_ } else { Atom::false_ })
    }

    /// A connection.
    fn conn(&mut self, conn: ConnId) -> Self::Term {
        self.tuple(2);
        let parts = [self.atom(Atom::sockeye_conn), self.integer(conn.as_u64())];
        self.end_tuple(&parts)
    }
}

/// Writes events: terms, and what only events have in them.
pub trait EventWriter {
    /// Writes the terms around.
    type Terms: Writer;

    /// Writes the terms around.
    fn terms(&mut self) -> &mut Self::Terms;
    /// What a JSON text says. It is UTF-8: a session has looked.
    ///
    /// # Errors
    /// The text is not JSON. Nothing has been written then.
    fn json(
        &mut self,
        text: &[u8],
        options: &JsonOptions,
    ) -> Result<<Self::Terms as Writer>::Term, JsonError>;
    /// What `accept` kept for the connection's receiver.
    fn kept(&mut self, state: &AcceptState) -> <Self::Terms as Writer>::Term;
    /// A place to go back to.
    fn mark(&self) -> usize;
    /// Takes back what was written since.
    fn rewind(&mut self, mark: usize);
}

/// External term format at the end of a buffer.
pub struct Etf<'a>(pub &'a mut Vec<u8>);

/// What `accept` kept, as the bytes of a term without its version.
pub struct KeptEtf(pub Box<[u8]>);

impl Writer for Etf<'_> {
    type Term = ();

    #[inline]
    fn atom(&mut self, atom: Atom) {
        etf::atom(self.0, atom.name());
    }

    #[inline]
    fn integer(&mut self, n: u64) {
        etf::unsigned(self.0, n);
    }

    #[inline]
    fn binary(&mut self, bytes: &[u8]) {
        etf::binary(self.0, bytes);
    }

    #[inline]
    fn tuple(&mut self, arity: u32) {
        etf::tuple(self.0, arity);
    }

    #[inline]
    fn end_tuple(&mut self, _parts: &[()]) {}

    fn list(&mut self, len: u32) {
        etf::list(self.0, len);
    }

    fn end_list(&mut self, _elements: &[()]) {
        etf::nil(self.0);
    }

    fn map(&mut self, len: u32) {
        etf::map(self.0, len);
    }

    fn end_map(&mut self, _pairs: &[((), ())]) {}
}

impl EventWriter for Etf<'_> {
    type Terms = Self;

    #[inline]
    fn terms(&mut self) -> &mut Self {
        self
    }

    fn json(&mut self, text: &[u8], options: &JsonOptions) -> Result<(), JsonError> {
        let text = sockeye_json::utf8(text)?;
        let start = self.0.len();
        let mut out = sockeye_json::Etf::new(self.0, true, options.read.objects)
            .with_literals(options.literals);
        let read = &options.read;
        let result = match &options.keys {
            KeyMode::Listed(names) => {
                let mut keys = |key: &str| names.contains(key);
                sockeye_json::decode_into(text, read, &mut keys, &mut out)
            }
            // Which atoms the VM has, only the VM knows.
            KeyMode::Binary | KeyMode::ExistingAtom => {
                sockeye_json::decode_into(text, read, &mut BinaryKeys, &mut out)
            }
        };
        if result.is_err() {
            self.0.truncate(start);
        }
        result
    }

    fn kept(&mut self, state: &AcceptState) {
        match state.0.downcast_ref::<KeptEtf>() {
            Some(KeptEtf(bytes)) => self.0.extend_from_slice(bytes),
            None => self.atom(Atom::undefined),
        }
    }

    fn mark(&self) -> usize {
        self.0.len()
    }

    fn rewind(&mut self, mark: usize) {
        self.0.truncate(mark);
    }
}
