//! What is to happen in a world: drawn from its seed, and made smaller when a failure is looked for.

use std::time::Duration;

use sockeye_simulated_engine::{Active, Mode};
use sockeye_world::Chance;
use sockeye_world::net::Faults;

use crate::door::TlsPlan;
use crate::drawn::{Reads, between, millis};
use crate::front::{self, FrontPlan};
use crate::http;
use crate::http::plan::AskerPlan;
use crate::http2;
use crate::http2::plan::CarrierPlan;
use crate::network::SMALL;
use crate::outer::OuterPlan;
use crate::port::plan::PortPlan;
use crate::{network, outer, tls};

pub(crate) const MS: u64 = 1_000_000;

/// A world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// Nothing is lost and nobody misbehaves: everything must come to a good end, and in time.
    pub fair: bool,
    pub shards: usize,
    pub mode: Mode,
    pub net: Faults,
    /// A thread loses its core once in so many steps.
    pub freezes: u64,
    /// A process does something while a socket is used, once in so many times.
    pub preempts: u64,
    pub server: ServerPlan,
    pub processes: ProcessPlan,
    pub clients: Vec<ClientPlan>,
    /// Connections of HTTP/2.
    pub carriers: Vec<CarrierPlan>,
    /// Those who ask for something else than a WebSocket.
    pub askers: Vec<AskerPlan>,
    /// A server before the one that is looked at.
    pub front: Option<FrontPlan>,
    /// A server that it is nested in.
    pub outer: Option<OuterPlan>,
    /// All of it goes over TLS.
    pub tls: Option<TlsPlan>,
    /// Clients of the engine's: how many connections each has, one after the other.
    pub dials: Vec<usize>,
    /// The engine is a process of its own.
    pub port: Option<PortPlan>,
    pub end: EndPlan,
    /// When it begins.
    pub ends_at: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct ServerPlan {
    pub inbox_size: usize,
    pub send_queue_size: u32,
    pub active: Active,
    pub close_timeout: Duration,
    pub send_timeout: Duration,
    pub idle_timeout: Duration,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub max_age: Duration,
    pub max_connections: usize,
    pub per_address: usize,
    pub control_frames: bool,
    pub asks: bool,
    pub close_slow: bool,
    pub rate: Option<(u32, u32, bool)>,
    pub deflate: Option<DeflatePlan>,
    pub max_message: usize,
}

/// What is wanted of permessage-deflate.
#[derive(Clone, Copy, Debug)]
pub struct DeflatePlan {
    pub server_takeover: bool,
    pub client_takeover: bool,
    pub server_bits: u8,
    pub client_bits: u8,
    pub threshold: usize,
}

/// How processes behave. Parts are of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct ProcessPlan {
    /// The longest pause before an event, and how often there is one.
    pub pause: u64,
    pub pauses: u64,
    pub crashes: u64,
    /// How often a process asks for something that nobody expects.
    pub meddles: u64,
    /// How often it closes a connection.
    pub closes: u64,
    /// How often a process that is asked for does not come.
    pub missing: u64,
    /// How often a connection gets another owner.
    pub moves: u64,
    /// How often a message is passed to a topic.
    pub publishes: u64,
    /// How often a reply is sent in pieces.
    pub streams: u64,
    /// Events of one fetch.
    pub batch: usize,
}

#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// Which one it was before others were left out.
    pub number: usize,
    /// It has a stream of this connection of HTTP/2.
    pub carrier: Option<usize>,
    /// It comes to the server before the one that is looked at.
    pub behind: bool,
    pub start: Duration,
    pub script: Vec<Action>,
    pub reads: Reads,
    /// It offers compression.
    pub deflate: bool,
    /// Its messages are not much smaller when they are compressed.
    pub noise: bool,
    /// They are JSON.
    pub json: bool,
    pub answers_close: bool,
    pub answers_pings: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// A message of this size, in so many frames, to which so many replies of that size are asked for.
    Say {
        size: usize,
        frames: usize,
        replies: usize,
        reply: usize,
    },
    Ping,
    Pause(Duration),
    /// Waits for all replies.
    Await,
    Close(u16),
    /// Writes no more, without a Close frame.
    Fin,
    Drop,
    Reset,
    /// Breaks the protocol.
    Bad(u8),
    /// Is never heard of again, and keeps its socket.
    Vanish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndPlan {
    StopServer,
    DrainThenStop,
    StopEngine,
}

fn size(chance: &mut Chance, window: usize) -> usize {
    let sizes = [
        0, 1, 20, 125, 126, 300, 2000, 17_000, 65_535, 65_536, 100_000,
    ];
    let most = if chance.is(1, 8) && window >= SMALL {
        sizes.len()
    } else {
        7
    };
    chance.pick(&sizes[..most])
}

impl Plan {
    /// The world of this seed.
    pub fn new(seed: u64) -> Self {
        // Not the numbers that the world itself draws.
        let mut chance = Chance::new(seed ^ 0xA11C_E5EE_D000_0001);
        let chance = &mut chance;
        let fair = chance.is(2, 5);
        let mode = match chance.below(3) {
            0 => Mode::Workers(between(chance, 1, 3) as usize),
            1 => Mode::PerConnection,
            _ => Mode::Owner,
        };
        let net = network::draw(chance, fair);
        let server = server(chance, fair);
        let processes = processes(chance, fair);
        let most = if chance.is(1, 6) { 14 } else { 5 };
        let clients = between(chance, 1, most);
        let clients: Vec<_> = (0..clients as usize)
            .map(|number| client(chance, fair, number, &server, net.window))
            .collect();
        let tls = chance.is(1, 12);
        let net = if tls { network::with_room(net) } else { net };
        let dials = if tls || chance.is(1, 2) {
            between(chance, 1, 3)
        } else {
            0
        };
        let dials = (0..dials).map(|_| between(chance, 1, 3) as usize).collect();
        // What there was before has not changed.
        let port = crate::port::plan::draw(&mut Chance::new(seed ^ 0x9027_0000_0000_0001), fair);
        let mut more = Chance::new(seed ^ 0xDEF1_A7E0_0000_0001);
        let server = ServerPlan {
            deflate: crate::packer::draw(&mut more),
            ..server
        };
        let clients = clients.into_iter().map(|client| ClientPlan {
            deflate: more.is(2, 3),
            noise: more.is(1, 2),
            json: port.is_some_and(|port| port.json),
            ..client
        });
        let mut clients: Vec<_> = clients.collect();
        let mut more = Chance::new(seed ^ 0x4772_0002_0000_0001);
        let (mut carriers, takes) = http2::plan::draw(&mut more, fair, clients.len());
        let mut more = Chance::new(seed ^ 0x9_1EC5_0001);
        let processes = ProcessPlan {
            streams: more.pick(&[0, 0, 100, 500]),
            ..processes
        };
        let mut more = Chance::new(seed ^ 0x4177_7001_0000_0001);
        let mut askers = http::plan::draw(&mut more, fair, net.window, carriers.len());
        let mut more = Chance::new(seed ^ 0x4EAD_0001);
        http::plan::vary(&mut more, &mut askers);
        let mut more = Chance::new(seed ^ 0x5_1080_0001);
        http2::plan::slow_down(&mut more, net.window, &mut carriers);
        let mut more = Chance::new(seed ^ 0xD4A6_0001);
        if !fair && net.window >= SMALL && more.is(1, 2) {
            http::plan::drag(&mut more, &mut carriers, &mut askers);
        }
        let mut more = Chance::new(seed ^ 0xC407_0001);
        if port.is_some() && net.window >= SMALL && more.is(1, 4) {
            http::plan::crowd(&mut more, carriers.len(), &mut askers);
        }
        for (client, carrier) in clients.iter_mut().zip(takes) {
            client.carrier = carrier;
        }
        let mut more = Chance::new(seed ^ 0xF409_0001);
        let mut front = front::draw(&mut more, fair).filter(|_| !tls);
        let net = match fair && front.is_some() {
            // As said there: it must have got all within a second.
            true => Faults {
                delay: 10_000,
                stalls: 0,
                ..net
            },
            false => net,
        };
        if front.is_some() {
            front::place(&mut more, fair, (&mut clients, &mut carriers, &mut askers));
        }
        let mut more = Chance::new(seed ^ 0x715_0000_0001);
        let tls = tls.then(|| tls::draw(&mut more));
        if let Some(front) = &mut front {
            front::secure(&mut Chance::new(seed ^ 0x7150_0000_0000_004D), front);
        }
        let net = match front.is_some_and(|front| front.tls.is_some()) {
            true => network::with_room(net),
            false => net,
        };
        let outer = outer::draw(&mut Chance::new(seed ^ 0x0473_0000_0000_0001));
        Plan {
            seed,
            tls,
            port,
            dials,
            fair,
            shards: between(chance, 1, 3) as usize,
            mode,
            net,
            freezes: chance.pick(&[0, 0, 1000, 100]),
            preempts: chance.pick(&[4, 20, 1000]),
            server,
            processes,
            clients,
            carriers,
            askers,
            front,
            outer,
            end: chance.pick(&[
                EndPlan::StopServer,
                EndPlan::DrainThenStop,
                EndPlan::StopEngine,
            ]),
            ends_at: if fair || chance.is(1, 2) {
                Duration::from_secs(2000)
            } else {
                millis(chance, 1, 20_000)
            },
        }
    }
}

fn server(chance: &mut Chance, fair: bool) -> ServerPlan {
    let secs = |chance: &mut Chance, low: u64, high: u64| match fair {
        true => Duration::from_secs(100_000),
        false => millis(chance, low * 1000, high * 1000),
    };
    ServerPlan {
        inbox_size: chance.pick(&[200, 3_000, 40_000, 1 << 20]),
        send_queue_size: chance.pick(&[100, 3_000, 60_000, 1 << 20]),
        active: chance.pick(&[
            Active::True,
            Active::True,
            Active::Once,
            Active::Count(1),
            Active::Count(3),
            Active::Count(20),
        ]),
        close_timeout: Duration::from_secs(if fair { 5000 } else { chance.pick(&[1, 5, 30]) }),
        send_timeout: secs(chance, 2, 60),
        idle_timeout: secs(chance, 5, 100),
        ping_interval: if fair {
            millis(chance, 300, 30_000)
        } else {
            millis(chance, 500, 40_000)
        },
        pong_timeout: secs(chance, 1, 30),
        max_age: match fair || chance.is(3, 4) {
            true => Duration::MAX,
            false => millis(chance, 500, 60_000),
        },
        max_connections: match fair || chance.is(3, 4) {
            true => usize::MAX,
            false => between(chance, 1, 5) as usize,
        },
        per_address: match fair || chance.is(3, 4) {
            true => usize::MAX,
            false => between(chance, 1, 3) as usize,
        },
        control_frames: chance.is(1, 3),
        asks: chance.is(1, 4),
        close_slow: !fair && chance.is(1, 3),
        rate: match chance.below(4) {
            0 if !fair => Some((
                between(chance, 1, 100) as u32,
                between(chance, 1, 20) as u32,
                true,
            )),
            1 => Some((
                between(chance, 5, 200) as u32,
                between(chance, 1, 20) as u32,
                false,
            )),
            _ => None,
        },
        deflate: None,
        max_message: if fair {
            1 << 20
        } else {
            chance.pick(&[1000, 70_000, 1 << 20])
        },
    }
}

fn processes(chance: &mut Chance, fair: bool) -> ProcessPlan {
    let mut rare = |most: u64, one_in: u64| match chance.is(1, one_in) {
        true => chance.below(most) + 1,
        false => 0,
    };
    let (crashes, closes, missing) = (rare(60, 3), rare(60, 3), rare(300, 3));
    let (meddles, moves, publishes) = (rare(200, 2), rare(100, 2), rare(300, 2));
    let unless_fair = |n| if fair { 0 } else { n };
    ProcessPlan {
        pause: if fair {
            5 * MS
        } else {
            chance.pick(&[MS, 200 * MS, 9_000 * MS])
        },
        pauses: chance.pick(&[0, 50, 500]),
        crashes: unless_fair(crashes),
        closes: unless_fair(closes),
        missing: unless_fair(missing),
        meddles,
        moves,
        publishes,
        streams: 0,
        batch: chance.pick(&[1, 3, 64]),
    }
}

fn client(
    chance: &mut Chance,
    fair: bool,
    number: usize,
    server: &ServerPlan,
    window: usize,
) -> ClientPlan {
    let good = fair || chance.is(1, 3);
    let mut script = Vec::new();
    for _ in 0..between(chance, 0, 12) {
        script.push(match chance.below(10) {
            0 => Action::Ping,
            1 | 2 => {
                let most = if chance.is(1, 10) { 40_000 } else { 300 };
                Action::Pause(millis(chance, 0, most))
            }
            3 => Action::Await,
            4 if !good => bad(chance, server),
            _ => {
                let size = size(chance, window);
                let replies = if chance.is(1, 8) { 40 } else { 2 };
                Action::Say {
                    size,
                    frames: if chance.is(1, 4) {
                        between(chance, 2, 5) as usize
                    } else {
                        1
                    },
                    replies: between(chance, 0, replies) as usize,
                    reply: self::size(chance, window),
                }
            }
        });
    }
    if good {
        if chance.is(1, 2) {
            script.push(Action::Await);
        }
        script.push(match chance.is(1, 4) {
            true => Action::Fin,
            false => Action::Close(chance.pick(&[1000, 4001, 4999])),
        });
    } else if chance.is(1, 2) {
        let code = chance.pick(&[1000, 4001, 4999]);
        script.push(chance.pick(&[
            Action::Close(code),
            Action::Fin,
            Action::Drop,
            Action::Reset,
            Action::Vanish,
        ]));
    }
    ClientPlan {
        number,
        carrier: None,
        behind: false,
        start: millis(chance, 0, 3000),
        script,
        reads: match chance.below(if good { 4 } else { 6 }) {
            0 => Reads::Slowly(millis(chance, 1, 30)),
            4 => Reads::Slowly(millis(chance, 1, 3000)),
            5 => Reads::Until(chance.pick(&[0, 200, 5000, 100_000])),
            _ => Reads::Always,
        },
        deflate: false,
        noise: false,
        json: false,
        answers_close: good || chance.is(2, 3),
        answers_pings: good || chance.is(2, 3),
    }
}

fn bad(chance: &mut Chance, server: &ServerPlan) -> Action {
    match chance.below(3) {
        0 => Action::Bad(chance.below(6) as u8),
        1 => Action::Say {
            size: server.max_message + 1,
            frames: 1,
            replies: 0,
            reply: 0,
        },
        _ => chance.pick(&[Action::Drop, Action::Reset, Action::Vanish, Action::Fin]),
    }
}
