//! TLS settings: `sockeye_tls` has read the files, here is PEM only.

use std::sync::Arc;

use sockeye_engine::tls::{Identity, Tls, TlsSettings, Verify};

use crate::value::{BadArg, Read, Value};

/// None for `undefined`.
///
/// # Errors
/// A key is not there, or its value is none that `sockeye_tls` gives.
pub fn tls_settings<P>(value: &Value<P>) -> Read<Option<TlsSettings>> {
    if value.is("undefined") {
        return Ok(None);
    }
    let versions = value.get("versions")?.list()?;
    let has = |name: &str| versions.iter().any(|version| version.is(name));
    let hosts = value.get("sni")?.list()?.iter().map(|host| {
        let [host, pair] = host.tuple()? else {
            return Err(BadArg);
        };
        Ok((host.read()?, identity(pair)?))
    });
    let own = value.get("identity")?;
    Ok(Some(TlsSettings {
        identity: (!own.is("undefined")).then(|| identity(own)).transpose()?,
        hosts: hosts.collect::<Read<_>>()?,
        authorities: value.get("cacertfile")?.bytes().ok().map(<[u8]>::to_vec),
        verify: match value.get("verify")?.atom()? {
            "required" => Verify::Required,
            "optional" => Verify::Optional,
            _ => Verify::None,
        },
        tls12: has("tlsv1.2"),
        tls13: has("tlsv1.3"),
        http2: value.get_as("http2")?,
    }))
}

pub(super) fn identity<P>(value: &Value<P>) -> Read<Identity> {
    match value.tuple()? {
        [certificates, key] => Ok(Identity {
            certificates: certificates.bytes()?.to_vec(),
            key: key.bytes()?.to_vec(),
        }),
        _ => Err(BadArg),
    }
}

/// Reads what the settings name: the error says what is wrong with it.
///
/// # Errors
/// A certificate or key cannot be used.
pub fn read_tls(settings: Option<TlsSettings>) -> Result<Option<Arc<Tls>>, String> {
    let tls = settings.as_ref().map(Tls::new).transpose()?;
    Ok(tls.map(Arc::new))
}
