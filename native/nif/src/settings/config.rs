//! The configuration of a server or client, and what its process is to the engine.

use std::sync::Arc;

use rustler::types::atom::Atom;
use rustler::{Binary, Decoder, Env, Error, LocalPid, NifResult, Term};
use sockeye_engine::host::ServerHost;
use sockeye_engine::tls::TlsSettings;
use sockeye_engine::{Engine, ServerConfig};
use sockeye_protocol::handshake::Origins;
use sockeye_seam::settings::{self, EventFormat, Owner};

use crate::server::host::VmHost;
use crate::server::registry;
use crate::server::vm_server::{OwnerSpec, VmServer};
use crate::settings::tree::{Tree, bad_arg};
use crate::terms::{Builder, existing};

/// All of it.
pub(crate) struct Settings {
    pub(crate) engine: ServerConfig,
    format: Arc<EventFormat>,
    owner: OwnerSpec,
    batch: bool,
    pub(crate) tls: Option<TlsSettings>,
    /// Of the VM, that listens.
    pub(crate) descriptor: Option<u64>,
}

pub(crate) fn get<'a, T: Decoder<'a>>(map: Term<'a>, key: Atom) -> NifResult<T> {
    map.map_get(key)?.decode()
}

impl Settings {
    pub(crate) fn read(env: Env<'_>, map: &Tree) -> NifResult<Self> {
        let read = settings::Settings::read(map).map_err(bad_arg)?;
        let owner = match read.owner {
            Owner::Nobody => OwnerSpec::Nobody,
            Owner::Process(pid) => OwnerSpec::Pid(pid),
            // It came from the VM, which has it.
            Owner::Name(name) => {
                let atom = existing::atom(env.as_c_arg(), &name).ok_or(Error::BadArg)?;
                OwnerSpec::Name(Builder::of(env).term(env, atom).decode()?)
            }
        };
        Ok(Settings {
            engine: read.engine,
            format: Arc::new(read.format),
            owner,
            batch: read.batch,
            tls: read.tls,
            descriptor: read.descriptor,
        })
    }

    /// What the engine calls with the id that a server gets.
    pub(crate) fn host(
        &self,
        pid: LocalPid,
        engine: &Arc<Engine>,
    ) -> impl FnOnce(u64) -> Box<dyn ServerHost> + use<> {
        let (owner, format) = ((self.owner.clone(), self.batch), self.format.clone());
        let (room, engine) = (self.engine.inbox_size, engine.clone());
        move |id| {
            let host = Arc::new(VmServer::new(pid, owner, format, room, id, &engine));
            registry::register(id, &host);
            Box::new(VmHost(host))
        }
    }
}

/// Whether a text is a rule of the option `origins`.
#[rustler::nif]
fn origin_rule(text: Binary<'_>) -> bool {
    str::from_utf8(text.as_slice()).is_ok_and(|rule| Origins::new([rule]).is_ok())
}
