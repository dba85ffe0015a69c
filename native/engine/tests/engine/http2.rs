//! HTTP/2 without TLS: what its connections cost, and how they end.

use std::io::{Read, Write};
use std::time::Duration;

use h2::client::{Connection, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use hyper::body::Bytes;
use hyper::http::{Method, Request};
use sockeye_engine::{Address, Broadcast, Mode, ServerConfig};
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::handshake::Paths;
use tokio::net::TcpStream;

use crate::support::*;

fn cleartext() -> ServerConfig {
    let mut config = config(Mode::Workers(1));
    config.http2_cleartext = true;
    config
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, test).await.unwrap() });
}

/// A client, and its connection, which somebody has to run.
async fn client(world: &World) -> (SendRequest<Bytes>, Connection<TcpStream>) {
    let socket = TcpStream::connect(world.address).await.unwrap();
    h2::client::handshake(socket).await.unwrap()
}

struct Tunnel {
    status: u16,
    send: SendStream<Bytes>,
    recv: RecvStream,
    ahead: Vec<u8>,
}

async fn open(client: &mut SendRequest<Bytes>) -> Tunnel {
    while !client.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://localhost/path")
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    std::future::poll_fn(|cx| client.poll_ready(cx))
        .await
        .unwrap();
    let (response, send) = client.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    Tunnel {
        status: response.status().as_u16(),
        send,
        recv: response.into_body(),
        ahead: Vec::new(),
    }
}

impl Tunnel {
    fn write(&mut self, op: Opcode, payload: &[u8]) {
        let frame = Bytes::from(masked(op, payload));
        self.send.send_data(frame, false).unwrap();
    }

    async fn expect(&mut self, bytes: &[u8]) {
        while self.ahead.len() < bytes.len() {
            let data = self
                .recv
                .data()
                .await
                .expect("the stream has ended")
                .unwrap();
            let _ = self.recv.flow_control().release_capacity(data.len());
            self.ahead.extend_from_slice(&data);
        }
        let rest = self.ahead.split_off(bytes.len());
        assert_eq!(self.ahead, bytes);
        self.ahead = rest;
    }
}

#[test]
fn a_stop_closes_each_stream() {
    let (world, mut puller) = World::pulled(2, cleartext());
    run(async {
        let (mut client, connection) = client(&world).await;
        let connection = tokio::task::spawn_local(connection);
        let (mut one, mut two) = (open(&mut client).await, open(&mut client).await);
        puller.opened();
        puller.opened();
        world.stop_server();
        for tunnel in [&mut one, &mut two] {
            tunnel.expect(b"\x88\x05\x03\xe9bye").await;
            tunnel.write(Opcode::Close, &close_payload(1001));
        }
        drop((one, two, client));
        let _ = connection.await.unwrap();
    });
    world.wait_stopped();
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_does_not_answer() {
    let mut config = cleartext();
    config.close_timeout = Duration::from_millis(100);
    let (world, mut puller) = World::pulled(1, config);
    run(async {
        let (mut client, connection) = client(&world).await;
        let connection = tokio::task::spawn_local(connection);
        let _tunnel = open(&mut client).await;
        puller.opened();
        world.stop_server();
        world.wait_stopped();
        let _ = connection.await;
    });
}

#[test]
fn a_websocket_takes_a_place_and_the_socket_does_not_take_another() {
    let mut config = cleartext();
    config.max_connections = 2;
    // Its handler process is this thread, which waits for the Close frame first.
    config.close_timeout = Duration::from_millis(100);
    let (world, mut puller) = World::pulled(1, config);
    run(async {
        let (mut client, connection) = client(&world).await;
        tokio::task::spawn_local(connection);
        let mut one = open(&mut client).await;
        let two = open(&mut client).await;
        assert_eq!((one.status, two.status), (200, 200));
        assert_eq!(open(&mut client).await.status, 503);
        let (first, _) = (puller.opened(), puller.opened());
        one.write(Opcode::Close, &close_payload(1000));
        one.expect(b"\x88\x02\x03\xe8").await;
        puller.expect(first, Got::Closed(1000, String::new()));
        // Its place is free again.
        assert_eq!(open(&mut client).await.status, 200);
    });
}

#[test]
fn the_socket_goes_with_its_last_websocket() {
    let mut config = cleartext();
    config.close_timeout = Duration::from_millis(100);
    let (world, mut puller) = World::pulled(1, config);
    run(async {
        let (mut client, connection) = client(&world).await;
        let connection = tokio::task::spawn_local(connection);
        let mut tunnel = open(&mut client).await;
        puller.opened();
        tunnel.write(Opcode::Close, &close_payload(1000));
        tunnel.expect(b"\x88\x02\x03\xe8").await;
        drop(tunnel);
        // The client is still there: it is the server that goes.
        let _ = connection.await.unwrap();
        drop(client);
    });
}

#[test]
fn clients_without_a_stream_are_closed() {
    let mut config = cleartext();
    config.handshake_timeout = Duration::from_millis(100);
    let (world, _puller) = World::pulled(1, config);
    run(async {
        let (client, connection) = client(&world).await;
        let _ = connection.await;
        drop(client);
    });
    for bytes in ["", "PRI * HTTP", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = connect(world.address);
        stream.write_all(bytes.as_bytes()).unwrap();
        // At most the frames of a server that has something to say, and then the end.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// More than a connection takes at once, for streams of which one is not read: the others get all, in order.
#[test]
fn a_stream_that_is_not_read_does_not_hold_up_those_that_wait() {
    const STREAMS: usize = 20;
    let (world, mut puller) = World::pulled(1, cleartext());
    run(async {
        let socket = TcpStream::connect(world.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 24);
        let (mut client, connection) = builder.handshake(socket).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut tunnels = Vec::new();
        for _ in 0..STREAMS {
            tunnels.push(open(&mut client).await);
            puller.opened();
        }
        let mut all = Vec::new();
        for n in 0..40u8 {
            let mut bytes = Vec::new();
            let payload = vec![n; 3000 + usize::from(n)];
            frame::write(&mut bytes, Opcode::Binary, &payload, None);
            all.extend_from_slice(&bytes);
            let frame = Broadcast::plain(bytes);
            let sent = world.engine.fan_out(&world.server, &frame, None, None);
            sent.unwrap();
        }
        assert!(all.len() > 64 * 1024, "not more than a stream's window");
        let (unread, read) = tunnels.split_first_mut().unwrap();
        for tunnel in read {
            tunnel.expect(&all).await;
        }
        unread.expect(&all).await;
    });
}

/// A frame of HTTP/2, on the first stream.
fn raw(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, u8::from(kind != 4)]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn a_head_without_end_is_cut_off() {
    let (world, _puller) = World::pulled(1, cleartext());
    let mut stream = connect(world.address);
    let mut head = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    head.extend(raw(4, 0, &[]));
    head.extend(raw(1, 0, b"\x83\x86\x84\x41\x01a"));
    stream.write_all(&head).unwrap();
    let field = [b"\x00\x01a\x7f\x80\x01", [b'v'; 255].as_slice()].concat();
    let more = raw(9, 0, &field);
    // Far more than any head may have, and far less than would take long.
    let cut = (0..20_000).any(|_| stream.write_all(&more).is_err());
    assert!(cut);
}

#[test]
fn without_the_option_there_is_no_http_2() {
    let (world, _puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut stream = connect(world.address);
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
}

/// As over a socket of its own: that of HTTP/1.1 is the WebSocket's alone.
#[test]
fn a_stop_does_not_wait_for_websockets_of_a_nested_server() {
    let mut own = config(Mode::Workers(1));
    own.address = Address::Nowhere;
    let (nested, mut puller) = World::pulled(1, own);
    let mut around = cleartext();
    around.nested = Some((Paths::new(["/path"]).unwrap(), nested.server.id()));
    let outer = World::on(nested.engine.clone(), around, None);
    run(async {
        let (mut client, connection) = client(&outer).await;
        tokio::task::spawn_local(connection);
        let (mut one, mut two) = (open(&mut client).await, open(&mut client).await);
        let (first, second) = (puller.opened(), puller.opened());
        outer.stop_server();
        outer.wait_stopped();
        for (tunnel, conn) in [(&mut one, first), (&mut two, second)] {
            tunnel.write(Opcode::Ping, b"there?");
            tunnel.expect(b"\x8a\x06there?").await;
            nested.send(conn, Opcode::Text, b"yes").unwrap();
            tunnel.expect(b"\x81\x03yes").await;
        }
        nested.stop_server();
        one.expect(b"\x88\x05\x03\xe9bye").await;
        two.expect(b"\x88\x05\x03\xe9bye").await;
        drop((one, two, client));
    });
    nested.wait_stopped();
}

/// Over HTTP/2, since each connection would need two descriptors otherwise.
#[test]
fn rows_of_more_than_500_connections_are_on_two_pages() {
    const MANY: usize = 503;
    let (world, mut puller) = World::pulled(1, cleartext());
    run(async {
        let mut tunnels = Vec::new();
        let mut ids = Vec::new();
        while tunnels.len() < MANY {
            let (mut client, connection) = client(&world).await;
            tokio::task::spawn_local(connection);
            for _ in 0..50.min(MANY - tunnels.len()) {
                tunnels.push(open(&mut client).await);
                ids.push(puller.opened().as_u64());
            }
        }
        let (rows, next) = crate::rows::page(&world, 0);
        let (more, last) = crate::rows::page(&world, next.unwrap());
        assert_eq!((rows.len(), more.len(), last), (500, 3, None));
        let mut seen: Vec<_> = rows.iter().chain(&more).map(|row| row.id).collect();
        seen.sort_unstable();
        ids.sort_unstable();
        assert_eq!(seen, ids);
    });
}
