//! TLS settings: `sockeye_tls` has read the files, here is PEM only.

use std::sync::Arc;

use rustler::types::atom::Atom;
use rustler::{Binary, Encoder, Env, Error, NifResult, Term};
use sockeye_engine::tls::{Identity, Tls, TlsSettings, Verify, out_of_time};

use crate::atoms;
use crate::vm::running;

/// None for `undefined`.
pub(crate) fn decode(term: Term<'_>) -> NifResult<Option<TlsSettings>> {
    if term.as_c_arg() == atoms::undefined().as_c_arg() {
        return Ok(None);
    }
    let get = |key: Atom| term.map_get(key);
    let authorities: Term<'_> = get(atoms::cacertfile())?;
    let authorities = authorities.decode::<Binary<'_>>().ok();
    let verify: Atom = get(atoms::verify())?.decode()?;
    let versions: Vec<Atom> = get(atoms::versions())?.decode()?;
    let hosts: Vec<(Term<'_>, Term<'_>)> = get(atoms::sni())?.decode()?;
    let own: Term<'_> = get(atoms::identity())?;
    let has_own = own.as_c_arg() != atoms::undefined().as_c_arg();
    Ok(Some(TlsSettings {
        identity: has_own.then(|| identity(own)).transpose()?,
        hosts: hosts
            .into_iter()
            .map(|(host, pair)| Ok((host.decode()?, identity(pair)?)))
            .collect::<NifResult<_>>()?,
        authorities: authorities.map(|text| text.as_slice().to_vec()),
        verify: if verify == atoms::required() {
            Verify::Required
        } else if verify == atoms::optional() {
            Verify::Optional
        } else {
            Verify::None
        },
        tls12: versions.contains(&atoms::tlsv1_2()),
        tls13: versions.contains(&atoms::tlsv1_3()),
        http2: get(atoms::http2())?.decode()?,
    }))
}

pub(crate) fn identity(term: Term<'_>) -> NifResult<Identity> {
    let (certificates, key): (Binary<'_>, Binary<'_>) = term.decode()?;
    Ok(Identity {
        certificates: certificates.as_slice().to_vec(),
        key: key.as_slice().to_vec(),
    })
}

/// Reads the settings: `{tls, Why}` is what is wrong with them.
pub(crate) fn read(settings: Option<TlsSettings>) -> Result<Option<Arc<Tls>>, String> {
    settings
        .as_ref()
        .map(Tls::new)
        .transpose()
        .map(|tls| tls.map(Arc::new))
}

pub(crate) fn refused<'a>(env: Env<'a>, why: &str) -> Term<'a> {
    (atoms::error(), (atoms::tls(), why)).encode(env)
}

/// New handshakes of the server use these settings.
#[rustler::nif(schedule = "DirtyCpu")]
fn reload_tls<'a>(env: Env<'a>, server: u64, settings: Term<'a>) -> NifResult<Term<'a>> {
    let (_, server) = running::server(server).ok_or(Error::BadArg)?;
    let settings = decode(settings)?.ok_or(Error::BadArg)?;
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
