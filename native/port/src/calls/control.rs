//! The calls that start, stop and inspect.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sockeye_engine::host::ServerHost;
use sockeye_engine::tls::out_of_time;
use sockeye_engine::{AcceptState, Address, Engine, EngineConfig, Peer, PieceOutcome, Tell};
use sockeye_etf::Token;
use sockeye_protocol::handshake::{Origins, comparable_pattern};
use sockeye_seam::allocator;
use sockeye_seam::calls as seam;
use sockeye_seam::settings::{
    AtomNumbers, EventFormat, Owner, Settings, decision, read_tls, stream_end, stream_head,
    tls_settings,
};
use sockeye_seam::value::{BadArg, Read, Value, read_etf};
use sockeye_seam::{Atom, EtfTerm, KeptEtf, Reader, Writer, errno, events};

use super::Call;
use crate::link::reply_to::{ReplyTo, error};
use crate::os::memory;
use crate::processes::Watched;
use crate::processes::receiver;
use crate::server::host::{Host, Pid};
use crate::server::port::Port;
use crate::server::server_host::HostRef;
use crate::world::thread;
use crate::world::time::Instant;

/// How long a port may take to become free that one of us has let go of.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at what will be over soon.
const MOMENT: Duration = Duration::from_millis(1);

/// Does what may take long where nobody waits for it. The order of such calls is the caller's, who waits for each.
pub(super) fn aside(job: impl FnOnce() + Send + 'static) {
    thread::aside(super::THREAD, job);
}

impl Call<'_> {
    pub(super) fn engine_start(self) -> Read<()> {
        let [options] = self.args()?;
        let options = self.value(options)?;
        let shards = options.get_as("shards")?;
        let mut config = EngineConfig::new(shards);
        config.after_notices = receiver::after_notices;
        config.give_back = allocator::give_back;
        if let Some(numbers) = options.find("atoms") {
            let _ = self.port.atom_numbers.set(AtomNumbers::of(numbers)?);
        }
        let engine = match Engine::start(config) {
            Ok(engine) => engine,
            Err(e) => {
                let text = e.to_string();
                self.reply_to
                    .answer(|w| error(w, |w| w.binary(text.as_bytes())));
                return Ok(());
            }
        };
        if !self.port.set_engine(engine.clone()) {
            aside(move || {
                engine.stop();
            });
            self.reply_to.error(Atom::already_running);
            return Ok(());
        }
        let id = self.port.processes.new_id();
        let caller = self.caller;
        self.port
            .processes
            .watch(id, Atom::engine, caller, 0, Watched::Engine);
        self.port.engine_process.store(id, Ordering::SeqCst);
        self.reply_to.ok();
        Ok(())
    }

    pub(super) fn engine_stop(self) -> Read<()> {
        let [] = self.args()?;
        let (port, reply_to) = (self.port.clone(), self.reply_to);
        aside(move || {
            port.stop();
            reply_to.ok();
        });
        Ok(())
    }

    pub(super) fn engine_info(self) -> Read<()> {
        let [] = self.args()?;
        let engine = self.port.engine().ok_or(BadArg)?;
        let more = [
            (Atom::memory, memory::resident().unwrap_or(0)),
            (Atom::os_pid, std::process::id().into()),
        ];
        self.reply_to
            .answer(|w| seam::engine_map(w, &engine, &more));
        Ok(())
    }

    pub(super) fn listen(self) -> Read<()> {
        let [map] = self.args()?;
        let map = self.value(map)?;
        let number = map.get_as("id")?;
        let mut settings = Settings::read(&map)?;
        if let Some((_, nested)) = &mut settings.engine.nested {
            // The engine has its own numbers.
            let host = self.port.host(*nested).ok_or(BadArg)?;
            *nested = host.find_server(self.port).ok_or(BadArg)?.id();
        }
        if let Some(descriptor) = settings.descriptor {
            let passed = self.port.passed.take(descriptor).ok_or(BadArg)?;
            settings.engine.address = Address::Given(Arc::new(passed));
        }
        let Some(new) = self.new_server(number)? else {
            return Ok(());
        };
        let reply_to = self.reply_to;
        aside(move || {
            if !new.listen(settings, &reply_to) {
                new.port.forget_server(number);
            }
        });
        Ok(())
    }

    /// Keeps a number for a server or client. None if it has been said that there will be none.
    pub(super) fn new_server(&self, number: u64) -> Read<Option<NewServer>> {
        let Some(engine) = self.port.engine() else {
            self.reply_to.error(Atom::not_running);
            return Ok(None);
        };
        if number >= 1 << 59 || !self.port.keep_number(number) {
            return Err(BadArg);
        }
        Ok(Some(NewServer {
            port: self.port.clone(),
            engine,
            number,
            caller: self.caller.into(),
        }))
    }

    pub(super) fn reload_tls(self) -> Read<()> {
        let [server, settings] = self.args()?;
        let server = self.server(server)?;
        let settings = tls_settings(&self.value(settings)?)?.ok_or(BadArg)?;
        let tls = server.config.tls.clone().ok_or(BadArg)?;
        let reply_to = self.reply_to;
        aside(move || match tls.replace(&settings) {
            Ok(()) => reply_to.ok(),
            Err(why) => tls_refused(&reply_to, &why),
        });
        Ok(())
    }

    pub(super) fn server_stop(self) -> Read<()> {
        let [server, code, reason] = self.args()?;
        let server = self.server(server)?;
        let code = u16::try_from(self.number(code)?).map_err(|_| BadArg)?;
        let engine = self.port.engine().ok_or(BadArg)?;
        engine.stop_server(&server, code, self.text(reason)?);
        self.reply_to.ok();
        Ok(())
    }

    pub(super) fn server_drain(self) -> Read<()> {
        let [server] = self.args()?;
        self.server(server)?.drain();
        self.reply_to.ok();
        Ok(())
    }

    pub(super) fn server_info(self) -> Read<()> {
        let [server] = self.args()?;
        let server = self.server(server)?;
        let engine = self.port.engine().ok_or(BadArg)?;
        let stats = engine.stats(&server);
        self.reply_to.answer(|w| seam::server_map(w, &stats));
        Ok(())
    }

    /// Those certificates of a PEM text that are not valid at a time: `{expired | not_yet_valid, Place, Date, Names}`.
    pub(super) fn certificates_out_of_time(self) -> Read<()> {
        let [text, now] = self.args()?;
        let (text, now) = (self.bytes(text)?.to_vec(), self.number(now)?);
        let reply_to = self.reply_to;
        aside(move || {
            let found = out_of_time(&text, now);
            reply_to.answer(|w| {
                w.list(found.len() as u32);
                for certificate in &found {
                    w.tuple(4);
                    w.atom(match certificate.expired {
                        true => Atom::expired,
                        false => Atom::not_yet_valid,
                    });
                    w.integer(certificate.place as u64);
                    w.integer(certificate.date);
                    w.list(certificate.names.len() as u32);
                    let names = certificate.names.iter();
                    names.for_each(|name| w.binary(name.as_bytes()));
                    w.end_list(&[]);
                }
                w.end_list(&[]);
            });
        });
        Ok(())
    }

    pub(super) fn origin_rule(self) -> Read<()> {
        let [text] = self.args()?;
        let text = std::str::from_utf8(self.bytes(text)?).ok();
        let valid = text.is_some_and(|rule| Origins::new([rule]).is_ok());
        self.reply_to.answer(|w| w.boolean(valid));
        Ok(())
    }

    pub(super) fn path_form(self) -> Read<()> {
        let [pattern] = self.args()?;
        let text = std::str::from_utf8(self.bytes(pattern)?).ok();
        let form = text.and_then(comparable_pattern);
        self.reply_to.answer(|w| match form {
            Some(form) => {
                w.tuple(2);
                w.atom(Atom::ok);
                w.binary(form.as_bytes());
            }
            None => w.atom(Atom::error),
        });
        Ok(())
    }

    /// The caller gets the questions of this server. What was asked before will not be answered.
    pub(super) fn gate_open(self) -> Read<()> {
        let [number] = self.args()?;
        let server = self.server(number)?;
        let host = self.port.host_of(&server).ok_or(BadArg)?;
        let id = self.port.processes.new_id();
        let caller = self.caller;
        let processes = &self.port.processes;
        processes.watch(id, Atom::gate, caller, host.process, Watched::Other);
        processes.unwatch(host.set_gate(0));
        server.forget_questions();
        host.set_gate(id);
        self.reply_to.ok();
        Ok(())
    }

    /// Answers a question. `false` if nobody waits for it any more.
    pub(super) fn answer(self) -> Read<()> {
        let [server, token, term] = self.args()?;
        let (value, state) = self.read_decision(term)?;
        let answer = decision(&value, state)?;
        let token = self.number(token)?;
        let heard = self
            .server(server)
            .is_ok_and(|server| server.answer(token, answer));
        self.reply_to.answer(|w| w.boolean(heard));
        Ok(())
    }

    /// Answers a question with a head, and with pieces that come later. `false` if they are not wanted.
    pub(super) fn stream_open(self) -> Read<()> {
        let [server, token, head] = self.args()?;
        let head = stream_head(&self.value(head)?)?;
        let token = self.number(token)?;
        let opened = self
            .server(server)
            .is_ok_and(|server| server.open_stream(token, head));
        self.reply_to.answer(|w| w.boolean(opened));
        Ok(())
    }

    /// Gives a piece. `sent`, when there is room for the next; or `closed`.
    pub(super) fn stream_send(self) -> Read<()> {
        let [server, token, piece] = self.args()?;
        let (token, piece) = (self.number(token)?, self.bytes(piece)?);
        let said = |reply_to: &ReplyTo, is_there: bool| {
            let said = if is_there { Atom::sent } else { Atom::closed };
            reply_to.answer(|w| w.atom(said));
        };
        let tell = || -> Tell {
            let reply_to = self.reply_to.clone();
            Box::new(move |is_there| said(&reply_to, is_there))
        };
        let given = match self.server(server) {
            Ok(server) => server.give_piece(token, piece, tell),
            Err(_) => PieceOutcome::Closed,
        };
        match given {
            PieceOutcome::Taken => said(&self.reply_to, true),
            PieceOutcome::Waits => {}
            PieceOutcome::Closed => said(&self.reply_to, false),
        }
        Ok(())
    }

    /// Ends an answer in pieces.
    pub(super) fn stream_close(self) -> Read<()> {
        let [server, token, end] = self.args()?;
        let (token, end) = (self.number(token)?, stream_end(&self.value(end)?)?);
        if let Ok(server) = self.server(server) {
            server.end_stream(token, end);
        }
        self.reply_to.ok();
        Ok(())
    }

    /// What a decision hands to the process that will serve the connection stays bytes, whatever it is.
    fn read_decision(&self, term: EtfTerm<'_>) -> Read<(Value<Pid>, Option<AcceptState>)> {
        let mut options = match self.reader().parts(term) {
            Some(parts) => match parts.as_ref() {
                [tag, options] if self.reader().is(*tag, Atom::accept) => {
                    options.cursor().ok_or(BadArg)?
                }
                _ => return Ok((self.value(term)?, None)),
            },
            None => return Err(BadArg),
        };
        let Token::Map(count) = options.token()? else {
            return Err(BadArg);
        };
        let (mut pairs, mut state) = (Vec::new(), None);
        for _ in 0..count {
            let key = read_etf(&mut options, &mut |pid| Pid::from(pid))?;
            if key.is("state") {
                let bytes = options.term()?;
                state = Some(AcceptState(Box::new(KeptEtf(bytes.into()))));
            } else {
                pairs.push((key, read_etf(&mut options, &mut |pid| Pid::from(pid))?));
            }
        }
        let accept = Value::Atom("accept".into());
        Ok((Value::Tuple(vec![accept, Value::Map(pairs)]), state))
    }
}

/// `{error, {tls, Why}}`
pub(super) fn tls_refused(reply_to: &ReplyTo, why: &str) {
    reply_to.answer(|w| {
        error(w, |w| {
            w.tuple(2);
            w.atom(Atom::tls);
            w.binary(why.as_bytes());
        });
    });
}

/// A server that is about to be.
pub(super) struct NewServer {
    pub(super) port: Arc<Port>,
    pub(super) engine: Arc<Engine>,
    number: u64,
    pub(super) caller: Pid,
}

impl NewServer {
    /// False if there is no server.
    fn listen(&self, mut settings: Settings<Pid>, reply_to: &ReplyTo) -> bool {
        settings.engine.tls = match read_tls(settings.tls.take()) {
            Ok(tls) => tls,
            Err(why) => {
                tls_refused(reply_to, &why);
                return false;
            }
        };
        let process = self.port.processes.new_id();
        let host = self.host(process, &mut settings);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let made = self.register(process, &host);
            match self.engine.listen(settings.engine.clone(), made) {
                Ok((_, place)) => {
                    host.watch_owner();
                    self.tell(place.as_ref(), reply_to);
                    return true;
                }
                Err(e)
                    if e.kind() == io::ErrorKind::AddrInUse
                        && Instant::now() < deadline
                        && self.port.are_leaving(&self.engine) =>
                {
                    thread::sleep(MOMENT);
                }
                Err(e) => {
                    reply_to.error(errno(&e));
                    return false;
                }
            }
        }
    }

    /// What the engine calls with the id that a server gets: its process is watched before anything can be told of it.
    pub(super) fn register<'a>(
        &'a self,
        process: u64,
        host: &'a Arc<Host>,
    ) -> impl FnOnce(u64) -> Box<dyn ServerHost> + 'a {
        move |id| {
            let _ = host.server.set(id);
            self.port.remember(id, host);
            let who = &self.caller;
            let watched = Watched::Host(host.number);
            let processes = &self.port.processes;
            processes.watch(process, Atom::host, who, 0, watched);
            Box::new(HostRef::new(host.clone(), &self.port))
        }
    }

    pub(super) fn host(&self, process: u64, settings: &mut Settings<Pid>) -> Arc<Host> {
        let owner = std::mem::replace(&mut settings.owner, Owner::Nobody);
        let timeout = settings.engine.close_timeout.as_millis();
        if let Some(json) = &mut settings.format.json {
            self.port.number_literals(json);
        }
        Host::new(
            (self.number, process),
            (owner, settings.batch),
            Arc::new(std::mem::replace(&mut settings.format, EventFormat::RAW)),
            (
                settings.engine.inbox_size,
                u64::try_from(timeout).unwrap_or(u64::MAX),
            ),
            &self.port.context,
        )
    }

    fn tell(&self, place: Option<&Peer>, reply_to: &ReplyTo) {
        reply_to.answer(|w| {
            w.tuple(3);
            w.atom(Atom::ok);
            w.integer(self.number);
            w.map(2);
            w.atom(Atom::address);
            match place {
                Some(Peer::Inet(ip, _)) => events::ip(w, *ip),
                Some(unix) => events::peer(w, unix),
                None => w.atom(Atom::none),
            }
            w.atom(Atom::port);
            w.integer(match place {
                Some(Peer::Inet(_, port)) => (*port).into(),
                _ => 0,
            });
        });
    }
}
