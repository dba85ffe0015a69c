//! TLS settings: `sockeye_tls` has read the files, here is PEM only.

use rustler::{Binary, Encoder, Env, Error, NifResult, Term};
use sockeye_engine::tls::out_of_time;
use sockeye_seam::settings::tls_settings;

use crate::atoms;
use crate::settings::tree::{bad_arg, tree};
use crate::vm::running;

pub(crate) fn refused<'a>(env: Env<'a>, why: &str) -> Term<'a> {
    (atoms::error(), (atoms::tls(), why)).encode(env)
}

/// New handshakes of the server use these settings.
#[rustler::nif(schedule = "DirtyCpu")]
fn reload_tls<'a>(env: Env<'a>, server: u64, settings: Term<'a>) -> NifResult<Term<'a>> {
    let (_, server) = running::server(server).ok_or(Error::BadArg)?;
    let settings = tls_settings(&tree(settings)).map_err(bad_arg)?;
    let settings = settings.ok_or(Error::BadArg)?;
    let tls = server.config.tls.as_ref().ok_or(Error::BadArg)?;
    Ok(match tls.replace(&settings) {
        Ok(()) => atoms::ok().encode(env),
        Err(why) => refused(env, &why),
    })
}

/// Those certificates of a PEM text that are not valid at a time: `{expired | not_yet_valid, Place, Date, Names}`,
/// with times in seconds since 1970.
#[rustler::nif(schedule = "DirtyCpu")]
fn certificates_out_of_time<'a>(env: Env<'a>, text: Binary<'a>, now: u64) -> Term<'a> {
    let found = out_of_time(text.as_slice(), now).into_iter();
    let found = found.map(|certificate| {
        let kind = match certificate.expired {
            true => atoms::expired(),
            false => atoms::not_yet_valid(),
        };
        let names = certificate.names.iter().map(String::as_str);
        let names: Vec<Term<'a>> = names.map(|name| name.encode(env)).collect();
        (kind, certificate.place, certificate.date, names)
    });
    found.collect::<Vec<_>>().encode(env)
}
