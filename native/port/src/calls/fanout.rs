//! The calls about many connections, and about topics.

use std::sync::{Arc, Mutex, PoisonError};

use sockeye_engine::{
    CallKind, ConnId, DeliveryCountReply, SendError, ShardSet, SubscribeError, topics,
};
use sockeye_seam::calls::{self as seam, Encoded, FanoutTarget};
use sockeye_seam::frames::{Bounds, SendFailure};
use sockeye_seam::settings::CLIENT_TAG;
use sockeye_seam::topic_changes::TakenChanges;
use sockeye_seam::value::{BadArg, Read};
use sockeye_seam::{Atom, EtfTerm, Reader, Writer};

use super::Call;
use crate::link::reply_to::{error, reason};
use crate::on_last_drop::OnLastDrop;
use crate::processes::Watched;

const CLOSED: SendFailure<EtfTerm<'_>> = SendFailure::Send(SendError::Closed);

impl Call<'_> {
    pub(super) fn publish(self) -> Read<()> {
        let [server, to, frame, except, wait] = self.args()?;
        let Ok(known) = self.server(server) else {
            return self.refused(&CLOSED);
        };
        match seam::encode_for(self.reader(), &known, frame, Bounds::NONE) {
            Ok(encoded) => self.spread(server, (to, except, wait), encoded),
            Err(failure) => self.refused(&failure),
        }
    }

    pub(super) fn publish_encoded(self) -> Read<()> {
        let [server, to, encoded, except, wait] = self.args()?;
        let parts = self.reader().parts(encoded).ok_or(BadArg)?;
        let [bytes, plain] = *parts.as_ref() else {
            return Err(BadArg);
        };
        let encoded = (self.bytes(bytes)?.to_vec(), self.boolean(plain)?);
        self.spread(server, (to, except, wait), encoded)
    }

    fn boolean(&self, term: EtfTerm<'_>) -> Read<bool> {
        let r = self.reader();
        match (r.is(term, Atom::true_), r.is(term, Atom::false_)) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(BadArg),
        }
    }

    fn spread(
        &self,
        server: EtfTerm<'_>,
        (to, except, wait): (EtfTerm<'_>, EtfTerm<'_>, EtfTerm<'_>),
        encoded: Encoded,
    ) -> Read<()> {
        let r = self.reader();
        let who = seam::recipients(r, to, except)?;
        let waits = self.boolean(wait)?;
        let (Some(engine), Ok(server)) = (self.port.engine(), self.server(server)) else {
            return self.refused(&CLOSED);
        };
        let reply_to = self.reply_to.clone();
        let outcome = waits.then(|| -> DeliveryCountReply {
            Box::new(move |sent, dropped| {
                reply_to.answer(|w| {
                    w.tuple(2);
                    w.atom(Atom::ok);
                    seam::dropped(w, sent, dropped);
                });
            })
        });
        match seam::spread(&engine, &server, who, encoded, outcome, Bounds::NONE) {
            Ok(shards) if shards.is_empty() && waits => self.reply_to.answer(|w| {
                w.tuple(2);
                w.atom(Atom::ok);
                seam::dropped(w, 0, 0);
            }),
            // The outcome is the answer.
            Ok(_) if waits => {}
            Ok(shards) => self.ok_after(shards, CallKind::Fanout),
            Err(failure) => return self.refused(&failure),
        }
        Ok(())
    }

    /// What other nodes hand on to their connections: `{ok, {Bytes, Plain}}`.
    pub(super) fn encode_frame(self) -> Read<()> {
        let [server, frame] = self.args()?;
        let Ok(server) = self.server(server) else {
            return self.refused(&CLOSED);
        };
        match seam::encode_for(self.reader(), &server, frame, Bounds::NONE) {
            Ok((bytes, plain)) => self.reply_to.answer(|w| {
                w.tuple(2);
                w.atom(Atom::ok);
                w.tuple(2);
                w.binary(&bytes);
                w.boolean(plain);
            }),
            Err(failure) => return self.refused(&failure),
        }
        Ok(())
    }

    /// `ok`, or `{error, [{Conn, Reason}]}`.
    pub(super) fn send_list(self) -> Read<()> {
        let [conns, frame] = self.args()?;
        let Some(engine) = self.port.engine() else {
            return self.refused(&CLOSED);
        };
        match seam::send_list(self.reader(), &engine, conns, frame, Bounds::NONE) {
            Ok((refused, crowded, ..)) => {
                let reply_to = self.reply_to;
                self.port
                    .when_done(crowded, move || match refused.as_slice() {
                        [] => reply_to.ok(),
                        refused => reply_to.answer(|w| {
                            error(w, |w| {
                                w.list(refused.len() as u32);
                                for (conn, why) in refused {
                                    w.tuple(2);
                                    w.conn(*conn);
                                    reason(w, &SendFailure::Send(*why));
                                }
                                w.end_list(&[]);
                            });
                        }),
                    });
                Ok(())
            }
            Err(failure) => self.refused(&failure),
        }
    }

    pub(super) fn subscribe(self, subscribe: bool) -> Read<()> {
        let [conn, topic] = self.args()?;
        let conn = self.conn(conn)?;
        let name = self.bytes(topic)?;
        if !topics::is_name(name) {
            return Err(BadArg);
        }
        let engine = self.port.engine();
        let label = engine
            .as_ref()
            .and_then(|engine| Some((engine, engine.label_of(conn)?)));
        let Some((engine, label)) = label else {
            self.reply_to.error(Atom::closed);
            return Ok(());
        };
        // Nobody publishes to a client's own connection.
        if label.tag & CLIENT_TAG != 0 {
            return Err(BadArg);
        }
        let result = match subscribe {
            true => engine.subscribe(conn, name),
            false => engine.unsubscribe(conn, name),
        };
        match result {
            Ok(told) => {
                if told
                    && let Some(server) = engine.server(label.server)
                    && let Some(host) = self.port.host_of(&server)
                {
                    host.note_topic(name);
                }
                self.ok_after(ShardSet::one(conn.shard()), CallKind::Single);
            }
            Err(SubscribeError::Closed) => self.reply_to.error(Atom::closed),
            Err(SubscribeError::TooMany) => self.reply_to.error(Atom::too_many_subscriptions),
        }
        Ok(())
    }

    /// The process is told once that there is [`Call::topic_news`].
    pub(super) fn watch_topics(self) -> Read<()> {
        let [server, pid] = self.args()?;
        let host = self.port.host(self.number(server)?).ok_or(BadArg)?;
        let processes = &self.port.processes;
        let id = processes.new_id();
        processes.watch(id, Atom::other, &pid.to_bytes(), 0, Watched::Other);
        host.topic_changes.watch(id);
        self.reply_to.ok();
        Ok(())
    }

    pub(super) fn topic_news(self) -> Read<()> {
        let [server] = self.args()?;
        let host = self.port.host(self.number(server)?).ok_or(BadArg)?;
        let taken = host.topic_changes.take();
        self.reply_to.answer(|w| match taken {
            TakenChanges::All => w.atom(Atom::all),
            TakenChanges::Names(names, more) => {
                w.tuple(2);
                w.boolean(more);
                w.list(names.len() as u32);
                names.iter().for_each(|name| w.binary(name));
                w.end_list(&[]);
            }
        });
        Ok(())
    }

    pub(super) fn topic_count(self) -> Read<()> {
        let [server, topic] = self.args()?;
        let name = self.bytes(topic)?;
        let engine = self.port.engine();
        let count = match (engine, self.server(server)) {
            (Some(engine), Ok(server)) => engine.subscriptions(&server, name),
            _ => 0,
        };
        self.reply_to.answer(|w| w.integer(count as u64));
        Ok(())
    }

    pub(super) fn topics_of(self) -> Read<()> {
        let [server] = self.args()?;
        let server = self.server(server)?;
        let topics = self.port.engine().ok_or(BadArg)?.topics(&server);
        self.reply_to.answer(|w| {
            w.map(topics.len() as u32);
            for (name, count) in &topics {
                w.binary(name);
                w.integer(*count as u64);
            }
        });
        Ok(())
    }

    /// A page of a server's connections on a shard.
    pub(super) fn rows(self) -> Read<()> {
        let [server, shard, from] = self.args()?;
        let server = self.server(server)?;
        let shard = usize::try_from(self.number(shard)?).map_err(|_| BadArg)?;
        let from = u32::try_from(self.number(from)?).map_err(|_| BadArg)?;
        let engine = self.port.engine().ok_or(BadArg)?;
        let reply_to = self.reply_to;
        let reply = move |rows: &[u8], next| {
            reply_to.answer(|w| seam::rows(w, rows, next));
        };
        match engine.rows(&server, shard, from, Box::new(reply)) {
            true => Ok(()),
            false => Err(BadArg),
        }
    }

    /// The connections of a server, or the subscribers of a topic: one list.
    pub(super) fn connections(self) -> Read<()> {
        let [server, topic] = self.args()?;
        let server = self.server(server)?;
        let name = match FanoutTarget::of(self.reader(), topic)? {
            FanoutTarget::All => None,
            FanoutTarget::Topic(name) => Some(name),
        };
        let engine = self.port.engine().ok_or(BadArg)?;
        let found: Arc<Mutex<Vec<ConnId>>> = Arc::default();
        let all = found.clone();
        let reply_to = self.reply_to;
        let last = OnLastDrop::new(move || {
            let conns = all.lock().unwrap_or_else(PoisonError::into_inner);
            reply_to.answer(|w| {
                w.list(conns.len() as u32);
                conns.iter().for_each(|conn| w.conn(*conn));
                w.end_list(&[]);
            });
        });
        engine.connections(&server, name, || {
            let (found, last) = (found.clone(), last.clone());
            Box::new(move |conns: &[ConnId]| {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.extend_from_slice(conns);
                drop(found);
                drop(last);
            })
        });
        Ok(())
    }
}
