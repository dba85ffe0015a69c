//! Topics on several shards.

use std::sync::mpsc::channel;

use proptest::prelude::*;
use sockeye_engine::{Broadcast, ConnId, Mode, SendError, ShardSet, SubscribeError};
use sockeye_protocol::frame::{self, Opcode};

use crate::support::*;

fn whole(text: &str) -> Broadcast {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, Opcode::Text, text.as_bytes(), None);
    Broadcast::plain(bytes)
}

fn publish(world: &World, topic: &str, text: &str) -> Result<usize, SendError> {
    let (server, frame) = (&world.server, whole(text));
    world
        .engine
        .publish(server, topic.as_bytes(), &frame, None, None)
        .map(ShardSet::len)
}

/// Clients and their connections, on shards in turn.
fn several(world: &World, puller: &mut Puller, count: usize) -> Vec<(Client, ConnId)> {
    let pairs = (0..count).map(|_| (world.client(), puller.opened()));
    pairs.collect()
}

/// What one thread does, one after the other.
#[derive(Clone, Debug)]
enum Act {
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Publish(usize),
    PublishFrom(usize, usize),
    Send(usize),
    SendToList(Vec<usize>),
    Broadcast,
}

const NAMES: [&str; 5] = ["a", "b", "ab", "a*", "*"];
const CLIENTS: usize = 4;

fn act() -> impl Strategy<Value = Act> {
    let (client, name) = (0..CLIENTS, 0..NAMES.len());
    // What is published has no star.
    let topic = 0..3usize;
    prop_oneof![
        3 => (client.clone(), name.clone()).prop_map(|(c, n)| Act::Subscribe(c, n)),
        2 => (client.clone(), name).prop_map(|(c, n)| Act::Unsubscribe(c, n)),
        6 => topic.clone().prop_map(Act::Publish),
        2 => (client.clone(), topic).prop_map(|(c, t)| Act::PublishFrom(c, t)),
        2 => client.clone().prop_map(Act::Send),
        1 => proptest::sample::subsequence(vec![0, 1, 2, 3], 0..=CLIENTS).prop_map(Act::SendToList),
        1 => Just(Act::Broadcast),
    ]
}

fn matches(name: &str, topic: &str) -> bool {
    match name.strip_suffix('*') {
        Some(prefix) => topic.starts_with(prefix),
        None => name == topic,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Each client gets what a plain list of subscribers would give it, in the order in which one
    /// caller asked for it, and each frame once.
    #[test]
    fn as_a_plain_list_would_do(acts in proptest::collection::vec(act(), 1..120)) {
        let (world, mut puller) = World::pulled(3, config(Mode::Workers(1)));
        let mut clients = several(&world, &mut puller, CLIENTS);
        let conns: Vec<ConnId> = clients.iter().map(|(_, conn)| *conn).collect();
        let mut subscribed = [[false; NAMES.len()]; CLIENTS];
        let mut expected = vec![Vec::new(); CLIENTS];
        for (number, act) in acts.iter().enumerate() {
            let text = format!("{number} {act:?}");
            let receivers = |topic: &str, except: Option<usize>| -> Vec<usize> {
                (0..CLIENTS)
                    .filter(|client| Some(*client) != except)
                    .filter(|client| {
                        let has = |n: usize| subscribed[*client][n] && matches(NAMES[n], topic);
                        (0..NAMES.len()).any(has)
                    })
                    .collect()
            };
            let engine = &world.engine;
            let to = match act {
                Act::Subscribe(client, name) => {
                    engine.subscribe(conns[*client], NAMES[*name].as_bytes()).unwrap();
                    subscribed[*client][*name] = true;
                    vec![]
                }
                Act::Unsubscribe(client, name) => {
                    engine.unsubscribe(conns[*client], NAMES[*name].as_bytes()).unwrap();
                    subscribed[*client][*name] = false;
                    vec![]
                }
                Act::Publish(topic) => {
                    publish(&world, NAMES[*topic], &text).unwrap();
                    receivers(NAMES[*topic], None)
                }
                Act::PublishFrom(client, topic) => {
                    let (name, frame) = (NAMES[*topic].as_bytes(), whole(&text));
                    let except = Some(conns[*client]);
                    engine.publish(&world.server, name, &frame, except, None).unwrap();
                    receivers(NAMES[*topic], Some(*client))
                }
                Act::Send(client) => {
                    send(engine, conns[*client], Opcode::Text, text.as_bytes()).unwrap();
                    vec![*client]
                }
                Act::SendToList(list) => {
                    let ids: Vec<ConnId> = list.iter().map(|client| conns[*client]).collect();
                    let refused = engine.send_to_list(&world.server, &whole(&text), &ids);
                    prop_assert!(refused.is_empty());
                    list.clone()
                }
                Act::Broadcast => {
                    engine.fan_out(&world.server, &whole(&text), None, None).unwrap();
                    (0..CLIENTS).collect()
                }
            };
            for client in to {
                expected[client].push(text.clone());
            }
        }
        for (index, (client, conn)) in clients.iter_mut().enumerate() {
            world.send(*conn, Opcode::Text, b"end").unwrap();
            for text in &expected[index] {
                client.expect(Opcode::Text, text.as_bytes());
            }
            client.expect(Opcode::Text, b"end");
        }
        for (name, count) in world.engine.topics(&world.server) {
            let place = NAMES.iter().position(|n| n.as_bytes() == name).unwrap();
            prop_assert_eq!(count, subscribed.iter().filter(|has| has[place]).count());
        }
    }
}

#[test]
fn a_shard_without_subscribers_has_no_part_in_it() {
    let (world, mut puller) = World::pulled(3, config(Mode::Workers(1)));
    let mut clients = several(&world, &mut puller, 6);
    assert_eq!(publish(&world, "t", "nobody"), Ok(0));
    let there = clients[0].1.shard();
    for (_, conn) in clients.iter().filter(|(_, conn)| conn.shard() == there) {
        world.engine.subscribe(*conn, b"t").unwrap();
    }
    assert_eq!(publish(&world, "t", "there"), Ok(1));
    clients[0].0.expect(Opcode::Text, b"there");
    let other = clients.iter().find(|(_, conn)| conn.shard() != there);
    world.engine.subscribe(other.unwrap().1, b"*").unwrap();
    assert_eq!(publish(&world, "t", "both"), Ok(2));
}

#[test]
fn the_outcome_counts_all_shards() {
    let (world, mut puller) = World::pulled(3, config(Mode::Workers(1)));
    let clients = several(&world, &mut puller, 7);
    for (_, conn) in &clients {
        world.engine.subscribe(*conn, b"t").unwrap();
    }
    let (sender, outcome) = channel();
    let tell = Box::new(move |sent, dropped| sender.send((sent, dropped)).unwrap());
    let except = Some(clients[0].1);
    let (server, frame) = (&world.server, whole("x"));
    world
        .engine
        .publish(server, b"t", &frame, except, Some(tell))
        .unwrap();
    assert_eq!(outcome.recv_timeout(LONG).unwrap(), (6, 0));
}

#[test]
fn a_topic_ends_with_its_last_connection() {
    let (world, mut puller) = World::pulled(2, config(Mode::Workers(1)));
    let mut clients = several(&world, &mut puller, 2);
    let (gone, conn) = clients.remove(0);
    assert_eq!(world.engine.subscribe(conn, b"t"), Ok(true));
    assert_eq!(world.engine.subscribe(conn, b"t"), Ok(false));
    assert_eq!(world.engine.subscribe(clients[0].1, b"t"), Ok(false));
    let (sender, ended) = channel();
    assert!(
        world
            .engine
            .watch(conn, Box::new(move |conn| sender.send(conn).unwrap()))
    );
    drop(gone);
    while puller.next().0 != conn {}
    assert_eq!(ended.recv_timeout(LONG).unwrap(), conn);
    assert_eq!(
        world.engine.subscribe(conn, b"t"),
        Err(SubscribeError::Closed)
    );
    assert!(!world.engine.watch(conn, Box::new(|_| ())));
    assert_eq!(world.engine.topics(&world.server), [(b"t".to_vec(), 1)]);
    assert_eq!(world.engine.unsubscribe(clients[0].1, b"t"), Ok(true));
    assert_eq!(world.engine.topics(&world.server), []);
}

#[test]
fn subscriptions_are_bounded_at_less_equal_and_more() {
    for count in [2, 3, 4usize] {
        let mut config = config(Mode::Workers(1));
        config.max_subscriptions = 3;
        let (world, mut puller) = World::pulled(1, config);
        let clients = several(&world, &mut puller, 1);
        let names: Vec<_> = (0..count).map(|n| n.to_string()).collect();
        let subscribe = |name: &String| world.engine.subscribe(clients[0].1, name.as_bytes());
        let results: Vec<_> = names.iter().map(subscribe).collect();
        let refused = results
            .iter()
            .filter(|r| **r == Err(SubscribeError::TooMany));
        assert_eq!(refused.count(), count.saturating_sub(3));
    }
}

#[test]
fn info_of_a_connection_has_its_topics() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let clients = several(&world, &mut puller, 2);
    let topics = |n: usize| {
        let mut topics = world.stats(clients[n].1).unwrap().topics;
        topics.sort();
        topics
    };
    assert_eq!(topics(0), Vec::<Vec<u8>>::new());
    for name in ["t", "a*"] {
        world
            .engine
            .subscribe(clients[0].1, name.as_bytes())
            .unwrap();
    }
    world.engine.subscribe(clients[1].1, b"other").unwrap();
    assert_eq!(topics(0), [b"a*".to_vec(), b"t".to_vec()]);
    world.engine.unsubscribe(clients[0].1, b"t").unwrap();
    assert_eq!(topics(0), [b"a*".to_vec()]);
}
