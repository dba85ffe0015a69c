//! The opening handshake from and to binaries.

use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Error, NifResult, ResourceArc, Term};
use sockeye_protocol::Role;
use sockeye_protocol::deflate::Params;
use sockeye_protocol::handshake::{
    Breach, ClientOptions, HandshakeError, HeadLimits, Refusal, RefusalReason, Request,
    ServerPolicy, client, server,
};

use super::{Codec, get, policy, tuning};
use sockeye_seam::events::{headers, request_pairs};

use crate::atoms;
use crate::terms::{Builder, map};

type HeaderPair = (ErlNifTerm, ErlNifTerm);

fn head_limits(options: Term<'_>) -> NifResult<HeadLimits> {
    Ok(HeadLimits {
        max_head_size: get(options, atoms::max_header_size())?,
        max_headers: get(options, atoms::max_headers())?,
    })
}

fn more(env: Env<'_>) -> NifResult<Term<'_>> {
    Ok(atoms::more().encode(env))
}

/// `{ok, Bytes, Key} | {error, Option}`
#[rustler::nif]
fn codec_request<'a>(env: Env<'a>, options: Term<'a>) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let host: String = get(options, atoms::host())?;
    let path: String = get(options, atoms::path())?;
    let subprotocols: Vec<String> = get(options, atoms::subprotocols())?;
    let headers: Vec<(String, String)> = get(options, atoms::headers())?;
    let wanted = policy(options)?;
    let asked = ClientOptions {
        host: &host,
        path: &path,
        subprotocols: &subprotocols,
        deflate: wanted.as_ref(),
        headers: &headers,
    };
    let key = client::generate_key();
    let result = match client::request(&asked, &key) {
        Ok(bytes) => b.tuple([
            b.atom(atoms::ok()),
            b.binary(&bytes),
            b.binary(key.as_bytes()),
        ]),
        Err(error) => {
            let key = match error {
                HandshakeError::BadOption("host") => atoms::host(),
                HandshakeError::BadOption("path") => atoms::path(),
                HandshakeError::BadOption("subprotocols") => atoms::subprotocols(),
                _ => atoms::headers(),
            };
            b.tuple([b.atom(atoms::error()), b.atom(key)])
        }
    };
    Ok(b.term(env, result))
}

/// `more | {ok, Codec, Info, HeadLength} | {error, Reason}`
#[rustler::nif]
fn codec_response<'a>(
    env: Env<'a>,
    key: &str,
    options: Term<'a>,
    bytes: Term<'a>,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let bytes = b.bytes(bytes.as_c_arg()).ok_or(Error::BadArg)?;
    let offered: Vec<String> = get(options, atoms::subprotocols())?;
    let wanted = policy(options)?;
    let limits = head_limits(options)?;
    match client::verify_with(bytes, key, &offered, wanted.as_ref(), &limits) {
        Ok(None) => more(env),
        Ok(Some((accepted, len))) => {
            let codec = Codec::new(
                Role::Client,
                options,
                accepted.deflate,
                tuning(wanted.as_ref()),
            )?;
            let mut pairs = vec![(
                b.atom(atoms::headers()),
                headers(&mut { b }, &accepted.headers),
            )];
            pairs.extend(agreed(b, accepted.subprotocol.as_deref(), accepted.deflate));
            let codec = ResourceArc::new(codec).encode(env).as_c_arg();
            let len = b.integer(len as u64);
            let result = b.tuple([b.atom(atoms::ok()), codec, map(b, &pairs), len]);
            Ok(b.term(env, result))
        }
        Err(error) => {
            let flaw = |what: Atom| b.tuple([b.atom(atoms::bad_handshake()), b.atom(what)]);
            let why = match error {
                HandshakeError::TooLarge => flaw(atoms::too_large()),
                HandshakeError::Status {
                    status,
                    headers: h,
                    len,
                } => b.tuple([
                    b.atom(atoms::status()),
                    b.integer(status.into()),
                    headers(&mut { b }, &h),
                    b.integer(len as u64),
                ]),
                HandshakeError::Invalid(breach) => flaw(broken(breach)),
                _ => flaw(atoms::malformed()),
            };
            Ok(b.term(env, b.tuple([b.atom(atoms::error()), why])))
        }
    }
}

fn broken(breach: Breach) -> Atom {
    match breach {
        Breach::Upgrade => atoms::upgrade(),
        Breach::Connection => atoms::connection(),
        Breach::Accept => atoms::accept(),
        Breach::Subprotocol => atoms::subprotocol(),
        Breach::Extension(_) => atoms::extension(),
        _ => atoms::malformed(),
    }
}

/// `more | {ok, Request, HeadLength} | {error, {Why, Response}}`
#[rustler::nif]
fn codec_check_request<'a>(
    env: Env<'a>,
    options: Term<'a>,
    bytes: Term<'a>,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let bytes = b.bytes(bytes.as_c_arg()).ok_or(Error::BadArg)?;
    let limits = head_limits(options)?;
    let found = Request::parse(bytes, &limits).and_then(|found| {
        // What would be refused whatever the server speaks is refused here already.
        if let Some((request, _)) = &found {
            server::upgrade(request, &ServerPolicy::default())?;
        }
        Ok(found)
    });
    match found {
        Ok(None) => more(env),
        Ok(Some((request, len))) => {
            let request = map(b, &about(b, &request));
            let result = b.tuple([b.atom(atoms::ok()), request, b.integer(len as u64)]);
            Ok(b.term(env, result))
        }
        Err(refusal) => Ok(refused(env, &refusal)),
    }
}

/// `more | {ok, Response, Codec, Info, HeadLength} | {error, {Why, Response}}`
#[rustler::nif]
fn codec_accept<'a>(env: Env<'a>, options: Term<'a>, bytes: Term<'a>) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let bytes = b.bytes(bytes.as_c_arg()).ok_or(Error::BadArg)?;
    let subprotocols: Vec<String> = get(options, atoms::subprotocols())?;
    let extra: Vec<(String, String)> = get(options, atoms::headers())?;
    let wanted = policy(options)?;
    let speaks = ServerPolicy {
        subprotocols: &subprotocols,
        deflate: wanted.as_ref(),
    };
    let (request, len) = match Request::parse(bytes, &head_limits(options)?) {
        Ok(None) => return more(env),
        Ok(Some(found)) => found,
        Err(refusal) => return Ok(refused(env, &refusal)),
    };
    let upgrade = match server::upgrade(&request, &speaks) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return Ok(refused(env, &refusal)),
    };
    let codec = Codec::new(
        Role::Server,
        options,
        upgrade.deflate,
        tuning(wanted.as_ref()),
    )?;
    let mut pairs = about(b, &request);
    pairs.extend(agreed(b, upgrade.subprotocol.as_deref(), upgrade.deflate));
    let result = b.tuple([
        b.atom(atoms::ok()),
        b.binary(&upgrade.response(&extra)),
        ResourceArc::new(codec).encode(env).as_c_arg(),
        map(b, &pairs),
        b.integer(len as u64),
    ]);
    Ok(b.term(env, result))
}

/// The answer of a server that decides not to talk.
#[rustler::nif]
fn codec_refuse<'a>(
    env: Env<'a>,
    status: u16,
    headers: Vec<(String, String)>,
    body: rustler::Binary<'a>,
) -> Term<'a> {
    refusal(env, status, headers, body)
}

/// For a large body.
#[rustler::nif(schedule = "DirtyCpu")]
fn codec_refuse_dirty<'a>(
    env: Env<'a>,
    status: u16,
    headers: Vec<(String, String)>,
    body: rustler::Binary<'a>,
) -> Term<'a> {
    refusal(env, status, headers, body)
}

fn refusal<'a>(
    env: Env<'a>,
    status: u16,
    headers: Vec<(String, String)>,
    body: rustler::Binary<'a>,
) -> Term<'a> {
    let b = Builder::of(env);
    let mut refusal = Refusal::new(status, body.as_slice());
    refusal.headers = headers;
    b.term(env, b.binary(&refusal.response()))
}

fn refused<'a>(env: Env<'a>, refusal: &Refusal) -> Term<'a> {
    let b = Builder::of(env);
    let reason = b.tuple([b.atom(why(refusal.why)), b.binary(&refusal.response())]);
    b.term(env, b.tuple([b.atom(atoms::error()), reason]))
}

fn why(why: RefusalReason) -> Atom {
    match why {
        RefusalReason::LongLine => atoms::long_line(),
        RefusalReason::TooLarge => atoms::too_large(),
        RefusalReason::HttpVersion => atoms::http_version(),
        RefusalReason::Method => atoms::method(),
        RefusalReason::Draft76 => atoms::draft_76(),
        RefusalReason::NotWebSocket => atoms::not_websocket(),
        RefusalReason::Version => atoms::version(),
        RefusalReason::Connection => atoms::connection(),
        RefusalReason::Body => atoms::body(),
        RefusalReason::Key => atoms::key(),
        RefusalReason::Subprotocol => atoms::subprotocol(),
        _ => atoms::malformed(),
    }
}

/// A request, as `accept/2` of a handler has it.
fn about(b: Builder, request: &Request) -> Vec<HeaderPair> {
    let mut pairs = request_pairs(&mut { b }, request).to_vec();
    let version = [1, u64::from(request.is_http_11())].map(|n| b.integer(n));
    pairs.push((b.atom(atoms::http_version()), b.tuple(version)));
    pairs
}

fn agreed(b: Builder, subprotocol: Option<&str>, deflate: Option<Params>) -> [HeaderPair; 2] {
    let subprotocol = match subprotocol {
        Some(name) => b.binary(name.as_bytes()),
        None => b.atom(atoms::undefined()),
    };
    let deflate = match deflate {
        Some(_) => b.atom(atoms::true_()),
        None => b.atom(atoms::false_()),
    };
    [
        (b.atom(atoms::subprotocol()), subprotocol),
        (b.atom(atoms::deflate()), deflate),
    ]
}
