//! WebSocket clients.

use std::net::TcpStream;

use tungstenite::{Message, WebSocket};

use crate::vm::LONG;

pub type Client = WebSocket<TcpStream>;

pub fn client(port: u16) -> Client {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    let url = format!("ws://127.0.0.1:{port}/path?q");
    tungstenite::client(url, stream).unwrap().0
}

/// Reads on to the close frame: its code.
pub fn closed(client: &mut Client) -> u16 {
    loop {
        if let Message::Close(frame) = client.read().unwrap() {
            return frame.unwrap().code.into();
        }
    }
}
