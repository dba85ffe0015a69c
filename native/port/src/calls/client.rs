//! The calls of clients.

use std::sync::Arc;

use sockeye_engine::{ClientTls, Proxy, Url};
use sockeye_protocol::handshake::names_a_host;
use sockeye_seam::settings::{CLIENT_TAG, Settings, client_tls, dial};
use sockeye_seam::value::{BadArg, Read};
use sockeye_seam::{Atom, Writer, errno};

use super::Call;
use super::control::{aside, tls_refused};
use crate::link::reply_to::error;

impl Call<'_> {
    /// Reads a URL: `{ok, Place}` for people, or `{error, Why}`.
    pub(super) fn client_url(self) -> Read<()> {
        let [url] = self.args()?;
        let url = Url::parse(self.text(url)?);
        self.reply_to.answer(|w| match url {
            Ok(url) => {
                w.tuple(2);
                w.atom(Atom::ok);
                w.binary(url.authority().as_bytes());
            }
            Err(why) => error(w, |w| w.binary(why.as_bytes())),
        });
        Ok(())
    }

    /// Reads the URL of a proxy: `ok`, or `{error, Why}`.
    pub(super) fn client_proxy(self) -> Read<()> {
        let [url] = self.args()?;
        match Proxy::parse(self.text(url)?) {
            Ok(_) => self.reply_to.ok(),
            Err(why) => self
                .reply_to
                .answer(|w| error(w, |w| w.binary(why.as_bytes()))),
        }
        Ok(())
    }

    /// Whether this can be the value of a header `Host`.
    pub(super) fn client_host(self) -> Read<()> {
        let [host] = self.args()?;
        let valid = names_a_host(self.bytes(host)?);
        self.reply_to.answer(|w| w.boolean(valid));
        Ok(())
    }

    /// Reads files, where it is to trust whom the system trusts.
    pub(super) fn client_open(self) -> Read<()> {
        let [map] = self.args()?;
        let map = self.value(map)?;
        let number: u64 = map.get_as("id")?;
        let mut settings = Settings::read(&map)?;
        let dial_map = map.get("dial")?;
        let mut dial = dial(dial_map)?;
        let has_tls = dial.url.tls || dial.redirects > 0;
        let tls = match has_tls {
            true => Some(client_tls(dial_map.get("tls")?)?),
            false => None,
        };
        settings.engine.tag |= CLIENT_TAG;
        let Some(new) = self.new_server(number)? else {
            return Ok(());
        };
        let reply_to = self.reply_to;
        aside(move || {
            let made = match tls.map(|tls| ClientTls::new(&tls)).transpose() {
                Ok(tls) => {
                    dial.tls = tls;
                    settings.engine.dial = Some(Arc::new(dial));
                    let process = new.port.processes.new_id();
                    let host = new.host(process, &mut settings);
                    let made = new
                        .engine
                        .client(settings.engine, new.register(process, &host));
                    made.map(|_| host.watch_owner())
                        .map_err(|e| reply_to.error(errno(&e)))
                }
                Err(why) => {
                    tls_refused(&reply_to, &why);
                    Err(())
                }
            };
            match made {
                Ok(()) => reply_to.answer(|w| {
                    w.tuple(2);
                    w.atom(Atom::ok);
                    w.integer(number);
                }),
                Err(()) => new.port.forget_server(number),
            }
        });
        Ok(())
    }

    /// The process of the client gets `{sockeye_dialled, Id, {ok, Conn} | {error, Reason}}`.
    pub(super) fn client_dial(self) -> Read<()> {
        let [client] = self.args()?;
        let client = self.server(client)?;
        let engine = self.port.engine().ok_or(BadArg)?;
        if !engine.dial(&client) {
            return Err(BadArg);
        }
        self.reply_to.ok();
        Ok(())
    }

    /// The connection of a client, or `none`.
    pub(super) fn client_conn(self) -> Read<()> {
        let [client] = self.args()?;
        let conn = self.server(client).ok().and_then(|c| c.client_conn());
        self.reply_to.answer(|w| match conn {
            Some(conn) => w.conn(conn),
            None => w.atom(Atom::none),
        });
        Ok(())
    }
}
