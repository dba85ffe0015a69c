//! What a client dials, out of the map that `sockeye_client_options` has checked.

use sockeye_engine::{ClientTlsSettings, Dial, Pin, Proxy, Url};

use crate::settings::config::time;
use crate::settings::tls::identity;
use crate::value::{BadArg, Read, Value};

/// Where it dials.
///
/// # Errors
/// A key is not there, or its value is none that `sockeye_client_options` lets pass.
pub fn dial<P>(map: &Value<P>) -> Read<Dial> {
    let url: String = map.get_as("url")?;
    let mut dial = Dial::new(Url::parse(&url).map_err(|_| BadArg)?);
    dial.connect_timeout = time(map.get("connect_timeout")?)?;
    dial.headers = map.get_as("headers")?;
    dial.host = unless_atom(map.get("host")?)?;
    dial.redirects = map.get_as("redirects")?;
    if let Some(proxy) = unless_atom(map.get("proxy")?)? {
        dial.proxy = Some(Proxy::parse(&proxy).map_err(|_| BadArg)?);
    }
    Ok(dial)
}

/// A text; none for an atom.
fn unless_atom<P>(value: &Value<P>) -> Read<Option<String>> {
    match value {
        Value::Atom(_) => Ok(None),
        text => text.read().map(Some),
    }
}

/// Whom it trusts, and what it shows.
///
/// # Errors
/// As [`dial`].
pub fn client_tls<P>(map: &Value<P>) -> Read<ClientTlsSettings> {
    let optional = |key: &str| -> Read<Option<&Value<P>>> {
        let value = map.get(key)?;
        Ok((!value.is("undefined")).then_some(value))
    };
    let pin = |pin: &Value<P>| {
        let [kind, hash] = pin.tuple()? else {
            return Err(BadArg);
        };
        let hash = hash.bytes()?.try_into().map_err(|_| BadArg)?;
        Ok(match kind.is("cert") {
            true => Pin::Certificate(hash),
            false => Pin::Key(hash),
        })
    };
    let versions = map.get("versions")?.list()?;
    let has = |name: &str| versions.iter().any(|version| version.is(name));
    let authorities = optional("cacertfile")?.map(Value::bytes).transpose()?;
    let sni = optional("sni")?;
    Ok(ClientTlsSettings {
        verify: !map.get("verify")?.is("none"),
        authorities: authorities.map(<[u8]>::to_vec),
        pins: map
            .get("pin")?
            .list()?
            .iter()
            .map(pin)
            .collect::<Read<_>>()?,
        identity: optional("identity")?.map(identity).transpose()?,
        tls12: has("tlsv1.2"),
        tls13: has("tlsv1.3"),
        sni: !matches!(sni, Some(Value::Atom(_))),
        name: sni.map(unless_atom).transpose()?.flatten(),
    })
}
