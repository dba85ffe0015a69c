//! JSON on its own: text to a term and back.

use sockeye_json::{Error as JsonError, ErrorKind, Null};
use sockeye_seam::frames::not_json;
use sockeye_seam::read::EncodeError;
use sockeye_seam::settings::{JsonOptions, encode_null};
use sockeye_seam::value::{BadArg, Read};
use sockeye_seam::{Atom, EtfTerm, EventWriter, Reader, Writer, events};

use super::Call;
use crate::asker::{Asker, error};
use crate::world::thread;

/// Bytes that the link's thread reads itself.
const SHORT: usize = 16 * 1024;

impl Call<'_> {
    /// `{ok, Value} | {error, {Kind, Offset}} | bad_option`
    pub(super) fn json_decode(self) -> Read<()> {
        let [text, options] = self.args()?;
        let Ok(options) = JsonOptions::of(&self.value(options)?) else {
            self.bad_option();
            return Ok(());
        };
        let text = self.reader().iolist(text, usize::MAX);
        let text = text.map_err(|_| BadArg)?;
        if text.len() <= SHORT {
            decode(&self.asker, &text, &options);
        } else {
            let (asker, text) = (self.asker, text.into_owned());
            thread::in_turn(move || decode(&asker, &text, &options));
        }
        Ok(())
    }

    /// `{ok, Text} | {error, {not_json, Part}} | bad_option`
    pub(super) fn json_encode(self) -> Read<()> {
        let [term, options] = self.args()?;
        let Ok(null) = encode_null(&self.value(options)?) else {
            self.bad_option();
            return Ok(());
        };
        let bytes = term.to_bytes();
        if bytes.len() <= SHORT {
            encode(&self.asker, &bytes, null);
        } else {
            let asker = self.asker;
            thread::in_turn(move || encode(&asker, &bytes, null));
        }
        Ok(())
    }

    /// The caller finds out, and says, what is wrong with them.
    fn bad_option(&self) {
        self.asker.answer(|w| sockeye_etf::atom(w.0, "bad_option"));
    }
}

fn decode(asker: &Asker, text: &[u8], options: &JsonOptions) {
    let decoded = match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(e) => Err(JsonError {
            kind: ErrorKind::Utf8,
            offset: e.valid_up_to(),
        }),
    };
    asker.answer(|w| {
        let mark = w.mark();
        w.tuple(2);
        w.atom(Atom::ok);
        if let Err(e) = decoded.and_then(|()| w.json(text, options)) {
            w.rewind(mark);
            error(w, |w| events::why(w, &e));
        }
    });
}

fn encode(asker: &Asker, term: &[u8], null: Null) {
    let term = EtfTerm::new(sockeye_etf::Cursor::new(term));
    let mut text = Vec::new();
    let result: Result<(), EncodeError<EtfTerm<'_>>> = sockeye_seam::encode(term, null, &mut text);
    asker.answer(|w| match result {
        Ok(()) => {
            w.tuple(2);
            w.atom(Atom::ok);
            w.binary(&text);
        }
        Err(why) => error(w, |w| {
            w.tuple(2);
            w.atom(Atom::not_json);
            not_json(w, &why, |w, part| part.copy_to(w.0));
        }),
    });
}
