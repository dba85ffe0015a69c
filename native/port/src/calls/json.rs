//! JSON without a connection: text to a term and back.

use sockeye_json::{Error as JsonError, ErrorKind, Null};
use sockeye_seam::frames::not_json;
use sockeye_seam::read::EncodeError;
use sockeye_seam::settings::{JsonOptions, encode_null};
use sockeye_seam::value::{BadArg, Read};
use sockeye_seam::{Atom, EtfTerm, EventWriter, Reader, Writer, events};

use super::Call;
use crate::link::reply_to::{ReplyTo, error};
use crate::world::thread;

/// Bytes that the link's thread reads itself.
const SHORT: usize = 16 * 1024;

impl Call<'_> {
    /// `{ok, Value} | {error, {Kind, Offset}} | bad_option`
    pub(super) fn json_decode(self) -> Read<()> {
        let [text, options] = self.args()?;
        let Ok(mut options) = JsonOptions::of(&self.value(options)?) else {
            self.bad_option();
            return Ok(());
        };
        self.port.number_literals(&mut options);
        let text = self.reader().iolist(text, usize::MAX);
        let text = text.map_err(|_| BadArg)?;
        if text.len() <= SHORT {
            decode(&self.reply_to, &text, &options);
        } else {
            let (reply_to, text) = (self.reply_to, text.into_owned());
            thread::in_turn(move || decode(&reply_to, &text, &options));
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
            encode(&self.reply_to, &bytes, null);
        } else {
            let reply_to = self.reply_to;
            thread::in_turn(move || encode(&reply_to, &bytes, null));
        }
        Ok(())
    }

    /// The caller finds out, and says, what is wrong with them.
    fn bad_option(&self) {
        self.reply_to
            .answer(|w| sockeye_etf::atom(w.0, "bad_option"));
    }
}

fn decode(reply_to: &ReplyTo, text: &[u8], options: &JsonOptions) {
    let decoded = match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(e) => Err(JsonError {
            kind: ErrorKind::Utf8,
            offset: e.valid_up_to(),
        }),
    };
    reply_to.answer(|w| {
        let mark = w.mark();
        w.tuple(2);
        w.atom(Atom::ok);
        if let Err(e) = decoded.and_then(|()| w.json(text, options)) {
            w.rewind(mark);
            error(w, |w| events::why(w, &e));
        }
    });
}

fn encode(reply_to: &ReplyTo, term: &[u8], null: Null) {
    let term = EtfTerm::new(sockeye_etf::Cursor::new(term));
    let mut text = Vec::new();
    let result: Result<(), EncodeError<EtfTerm<'_>>> = sockeye_seam::encode(term, null, &mut text);
    reply_to.answer(|w| match result {
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
