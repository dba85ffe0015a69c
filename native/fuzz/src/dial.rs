//! A client, and whoever it meets on its way: proxies of HTTP and SOCKS, and servers. The engine runs in a simulated world.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_simulated_engine::{Dial, DialError, MAX_BODY, Proxy, ProxyError, Url};
use sockeye_world::net::{TcpListener, TcpStream, listen};
use sockeye_world::{names, time};
use tungstenite::handshake::derive_accept_key;

use crate::Choices;
use crate::world::{Life, write};

/// Where the other end waits.
const THERE: [u8; 4] = [10, 0, 0, 2];
const PORT: u16 = 9000;

/// Stands where an answer is to name the key of the request.
const ACCEPT: &[u8] = b"<accept>";

/// Between what the proxy says and what the server says.
const BEHIND: &[u8] = b"\n--\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Http,
    Socks,
    SocksLogin,
}

/// Byte 0: bits 0 and 1 the way, 2 and 3 the form of the host, 4 and 5 how many redirects are followed. Bytes 1 and 2: the
/// sizes of two cuts. The rest is what a proxy says at once, up to a line of two dashes, and then what the server says to the
/// request.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let first = choices.byte();
    let sizes = [(); 2].map(|()| usize::from(choices.byte()) + 1);
    let way = [Way::Direct, Way::Http, Way::Socks, Way::SocksLogin][usize::from(first & 3)];
    let host = ["10.0.0.2", "there.test", "[fd00::2]", "there.test"][usize::from(first >> 2 & 3)];
    let redirects = first >> 4 & 3;
    let split = choices.0.windows(BEHIND.len()).position(|w| w == BEHIND);
    let (proxy, server) = match split {
        _ if way == Way::Direct => (&[][..], choices.0),
        Some(at) => (&choices.0[..at], &choices.0[at + BEHIND.len()..]),
        None => (choices.0, &[][..]),
    };
    let run = |sizes| dial(way, host, redirects, proxy, server, sizes);
    let (result, said) = run([usize::MAX; 2]);
    let is_named = server.windows(ACCEPT.len()).any(|w| w == ACCEPT);
    let silent = result != Err(DialError::Proxy(ProxyError::Malformed));
    // What a proxy of HTTP says behind its answer is an error if it is seen in time.
    if way != Way::Http || (silent && redirects == 0) {
        let (cut, said_to_cut) = run(sizes);
        // The key is another one, and may stand in the content.
        let shown = |result: &Result<(), DialError>| match result {
            Err(DialError::Refused(answer) | DialError::ProxyRefused(answer)) => {
                let body = (!is_named).then_some(&answer.body);
                format!("{} {body:?}", answer.status)
            }
            other => format!("{other:?}"),
        };
        assert_eq!(shown(&cut), shown(&result), "the cut changes the end");
        // What follows the request may answer what the server has made of the key.
        let request = |said: &[u8]| said.windows(4).rposition(|w| w == b"\r\n\r\n");
        assert_eq!(request(&said_to_cut), request(&said));
    }
    match &result {
        Ok(()) => {
            assert!(is_named, "the key was not known");
        }
        Err(DialError::Refused(answer) | DialError::ProxyRefused(answer)) => {
            assert!(answer.body.len() <= MAX_BODY);
        }
        Err(error) => assert!(!matches!(error, DialError::Stopped), "{error:?}"),
    }
    if matches!(way, Way::Socks | Way::SocksLogin) {
        let (expected, told) = socks(way == Way::SocksLogin, host, proxy);
        match expected {
            Ok(()) => assert!(!matches!(result, Err(DialError::Proxy(_))), "{result:?}"),
            Err(error) => {
                assert_eq!(result, Err(error));
                assert_eq!(said, told);
            }
        }
        assert!(said.starts_with(&told), "{said:?}");
    }
}

/// What one connection has heard.
type Heard = Rc<RefCell<Vec<u8>>>;

/// What becomes of an attempt, and what it said to the first who was there.
fn dial(
    way: Way,
    host: &str,
    redirects: u8,
    proxy: &[u8],
    server: &[u8],
    sizes: [usize; 2],
) -> (Result<(), DialError>, Vec<u8>) {
    let life = Life::begin();
    names::set("there.test", &[THERE.into()]);
    let there = SocketAddr::from((Ipv4Addr::from(THERE), PORT));
    let listener = TcpListener::from_std(listen(there, 9, false).expect("a port"));
    let listener = listener.expect("a listener");
    let said: Rc<RefCell<Vec<Heard>>> = Rc::default();
    life.spawn({
        let (said, proxy, server) = (said.clone(), proxy.to_vec(), server.to_vec());
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                let heard = Rc::default();
                said.borrow_mut().push(Rc::clone(&heard));
                let play = play(stream, heard, proxy.clone(), server.clone(), sizes);
                sockeye_world::task::spawn_local(play);
            }
        }
    });
    let mut to = Dial::new(Url::parse(&format!("ws://{host}:{PORT}/")).expect("a URL"));
    to.redirects = redirects;
    let url = match way {
        Way::Direct => None,
        Way::Http => Some(format!("http://me:secret@there.test:{PORT}")),
        Way::Socks => Some(format!("socks5://there.test:{PORT}")),
        Way::SocksLogin => Some(format!("socks5://me:secret@there.test:{PORT}")),
    };
    to.proxy = url.map(|url| Proxy::parse(&url).expect("a proxy"));
    let mut config = Life::config();
    config.dial = Some(Arc::new(to));
    config.deflate = Some(Default::default());
    let (result, client) = life.dial(config);
    // What was opened ends with the other end.
    life.end(&client);
    let said = said.borrow().first().map(|heard| heard.borrow().clone());
    (result.map(|_| ()), said.unwrap_or_default())
}

/// The other end of one connection.
async fn play(stream: TcpStream, heard: Heard, proxy: Vec<u8>, server: Vec<u8>, sizes: [usize; 2]) {
    let stream = Rc::new(stream);
    let reads = stream.clone();
    let listens = heard.clone();
    sockeye_world::task::spawn_local(async move {
        while let Ok(bytes) = reads.read_some(64 << 10).await {
            if bytes.is_empty() {
                break;
            }
            listens.borrow_mut().extend(bytes);
        }
    });
    write(&stream, &proxy, sizes).await;
    time::sleep(Duration::from_millis(30)).await;
    let key = key(&heard.borrow());
    if let Some(key) = key {
        let answer = named(&server, derive_accept_key(key.as_bytes()).as_bytes());
        write(&stream, &answer, sizes).await;
        time::sleep(Duration::from_millis(30)).await;
    }
    stream.finish_writing();
}

/// The key of a request, if one has come.
fn key(heard: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(heard);
    let (_, behind) = text.split_once("Sec-WebSocket-Key: ")?;
    Some(behind.split_once("\r\n")?.0.to_owned())
}

/// The answer, with the key in its places.
fn named(answer: &[u8], accept: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = answer;
    while let Some(at) = rest.windows(ACCEPT.len()).position(|w| w == ACCEPT) {
        out.extend(&rest[..at]);
        out.extend(accept);
        rest = &rest[at + ACCEPT.len()..];
    }
    out.extend(rest);
    out
}

/// RFC 1928 and 1929 as they read: what a client says to a proxy that says this, and what it takes it for.
fn socks(login: bool, host: &str, mut proxy: &[u8]) -> (Result<(), DialError>, Vec<u8>) {
    let mut hear = |count: usize| {
        let (now, later) = proxy.split_at_checked(count).ok_or(DialError::Closed)?;
        proxy = later;
        Ok::<_, DialError>(now.to_vec())
    };
    let mut told = match login {
        true => vec![5, 2, 0, 2],
        false => vec![5, 1, 0],
    };
    let malformed = || DialError::Proxy(ProxyError::Malformed);
    let mut run = || {
        match hear(2)?[..] {
            [5, 0] => {}
            [5, 2] if login => {
                told.extend(b"\x01\x02me\x06secret");
                if hear(2)?[1] != 0 {
                    return Err(DialError::Proxy(ProxyError::Denied));
                }
            }
            [5, 255] => return Err(DialError::Proxy(ProxyError::Denied)),
            _ => return Err(malformed()),
        }
        told.extend([5, 1, 0]);
        match host {
            "10.0.0.2" => told.extend(b"\x01\x0a\0\0\x02"),
            "[fd00::2]" => told.extend(b"\x04\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02"),
            name => {
                told.extend([3, name.len() as u8]);
                told.extend(name.as_bytes());
            }
        }
        told.extend(PORT.to_be_bytes());
        let [version, reply, _, kind] = hear(4)?[..] else {
            return Err(malformed());
        };
        match (version, reply) {
            (5, 0) => {}
            (5, 2) => return Err(DialError::Proxy(ProxyError::NotAllowed)),
            (5, 3 | 4 | 6) => return Err(DialError::Proxy(ProxyError::Unreachable)),
            (5, 5) => return Err(DialError::Proxy(ProxyError::Refused)),
            (5, _) => return Err(DialError::Proxy(ProxyError::Failure)),
            _ => return Err(malformed()),
        }
        let address = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(hear(1)?[0]),
            _ => return Err(malformed()),
        };
        hear(address + 2).map(|_| ())
    };
    let result = run();
    (result, told)
}
