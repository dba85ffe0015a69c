//! The VM's side of the link.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sockeye_seam::value::Value;

use crate::options::config;
pub use crate::sections::Section;
use crate::sections::parse;
pub use crate::terms::*;

/// Long enough on any machine.
pub const LONG: Duration = Duration::from_secs(30);
pub const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An executable that has been started, and nobody has said hello to.
pub struct Started {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    pub folder: PathBuf,
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "sockeye-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let folder = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .unwrap();
    folder
}

impl Started {
    pub fn with_first_line(line: &str) -> Self {
        let folder = folder();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sockeye-engine"))
            .arg(folder.join("link"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(line.as_bytes());
        Started {
            child,
            stdin: Some(stdin),
            folder,
        }
    }

    /// It listens.
    pub fn ready() -> Self {
        let mut started = Self::with_first_line(&format!("{SECRET}\n"));
        let mut line = [0; 6];
        let stdout = started.child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"ready\n");
        started
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.join("link")).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// How it ended, and how long that took.
    pub fn ended(&mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        while begin.elapsed() < LONG {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begin.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }

    /// What it said.
    pub fn said(&mut self) -> String {
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        said
    }
}

pub fn packet(stream: &mut impl Write, bytes: &[u8]) {
    let mut out = (bytes.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    // It may have hung up.
    let _ = stream.write_all(&out);
}

/// None at the end of the stream.
pub fn read_packet(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).ok()?;
    let len = u32::from_be_bytes(len) as usize;
    assert!((1..=1 << 20).contains(&len), "a packet of {len} bytes");
    let mut packet = vec![0; len];
    stream.read_exact(&mut packet).unwrap();
    Some(packet)
}

pub fn hello(protocol: i64, version: &str, secret: &str) -> Vec<u8> {
    bytes(&tuple(vec![
        atom("sockeye_hello"),
        Value::Integer(protocol),
        binary(version),
        binary(secret),
    ]))
}

pub struct Vm {
    pub started: Started,
    pub stream: UnixStream,
    ahead: VecDeque<Section>,
    pieces: HashMap<u32, Vec<u8>>,
    /// Of a batch with more than one event, by the handler.
    later: HashMap<u64, VecDeque<(Term, Term)>>,
    calls: u16,
}

impl Vm {
    /// With an engine that runs.
    pub fn start(shards: i64) -> Self {
        let started = Started::ready();
        let mut stream = started.connect();
        packet(&mut stream, &hello(1, VERSION, SECRET));
        let answer = term(&read_packet(&mut stream).unwrap());
        let parts = answer.tuple().unwrap();
        assert!(parts[0].is("sockeye_hello"), "{answer:?}");
        let os_pid: u32 = parts[3].get_as("os_pid").unwrap();
        assert_eq!(os_pid, started.child.id());
        let mut vm = Vm {
            started,
            stream,
            ahead: VecDeque::new(),
            pieces: HashMap::new(),
            later: HashMap::new(),
            calls: 0,
        };
        let options = Value::Map(vec![(atom("shards"), int(shards))]);
        let started = vm.call(0, "engine_start", vec![options]);
        assert_eq!(started, returned(atom("ok")));
        vm.expect_watch("engine", 0);
        vm
    }

    pub fn section(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        packet.extend_from_slice(&(body.len() as u32).to_be_bytes());
        packet.extend_from_slice(body);
        self::packet(&mut self.stream, &packet);
    }

    fn read(&mut self) {
        let packet = read_packet(&mut self.stream).expect("the link has ended");
        let mut rest = &packet[..];
        while !rest.is_empty() {
            let size = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
            assert!(size <= 256 * 1024 + 5, "a section of {size} bytes");
            let (kind, body) = (rest[0], &rest[5..5 + size]);
            rest = &rest[5 + size..];
            match kind {
                8 | 9 => {
                    let stream = u32::from_be_bytes(body[..4].try_into().unwrap());
                    let pieces = self.pieces.entry(stream).or_default();
                    if kind == 8 {
                        pieces.extend_from_slice(&body[4..]);
                    } else {
                        pieces.extend_from_slice(&body[5..]);
                        let whole = self.pieces.remove(&stream).unwrap();
                        self.ahead.push_back(parse(body[4], &whole));
                    }
                }
                kind => self.ahead.push_back(parse(kind, body)),
            }
        }
    }

    /// The first section that is asked for; others stay.
    pub fn find<T>(&mut self, mut wanted: impl FnMut(&Section) -> Option<T>) -> T {
        let mut seen = 0;
        loop {
            while seen < self.ahead.len() {
                if let Some(found) = wanted(&self.ahead[seen]) {
                    self.ahead.remove(seen);
                    return found;
                }
                seen += 1;
            }
            self.read();
        }
    }

    /// Sections that have come and were not asked for.
    pub fn others(&mut self) -> Vec<Section> {
        self.ping();
        self.ahead.drain(..).collect()
    }

    /// All that was sent before has been carried out.
    pub fn ping(&mut self) {
        self.calls += 1;
        let n = u64::from(self.calls);
        self.section(6, &n.to_be_bytes());
        self.find(|s| (*s == Section::Pong(n)).then_some(()));
    }

    pub fn ask(&mut self, caller: u8, function: &str, args: Vec<Term>) -> u16 {
        self.calls += 1;
        let from = self.calls.to_be_bytes();
        let call = tuple(vec![pid(caller), atom(function), list(args)]);
        let mut body = vec![0, 2];
        body.extend_from_slice(&from);
        body.extend_from_slice(&bytes(&call));
        self.section(1, &body);
        self.calls
    }

    pub fn answer(&mut self, call: u16) -> Term {
        self.find(|s| match s {
            Section::Answer(known, term) if *known == call => Some(term.clone()),
            _ => None,
        })
    }

    pub fn call(&mut self, caller: u8, function: &str, args: Vec<Term>) -> Term {
        let call = self.ask(caller, function, args);
        self.answer(call)
    }

    pub fn cast(&mut self, caller: u8, function: &str, args: Vec<Term>) {
        let call = tuple(vec![pid(caller), atom(function), list(args)]);
        self.section(5, &bytes(&call));
    }

    /// The Id in a watch section of this role.
    pub fn expect_watch(&mut self, role: &str, process: u8) -> u64 {
        self.find(|s| match s {
            Section::Watch(id, term) => {
                let parts = term.tuple().unwrap();
                (parts[0].is(role) && parts[1] == pid(process)).then_some(*id)
            }
            _ => None,
        })
    }

    pub fn down(&mut self, id: u64) {
        self.section(3, &id.to_be_bytes());
    }

    /// Connections and frames, in turn.
    pub fn commands(&mut self, id: u64, acknowledged: u8, max: u16, commands: Vec<Term>) {
        let heads: Vec<_> = commands.chunks(2).map(|_| (0, 0)).collect();
        self.shaped(id, acknowledged, max, &heads, commands);
    }

    /// Commands of which a connection and a shape stand in front.
    pub fn shaped(&mut self, id: u64, acks: u8, max: u16, heads: &[(u64, u8)], terms: Vec<Term>) {
        let mut body = id.to_be_bytes().to_vec();
        body.push(acks);
        body.extend_from_slice(&max.to_be_bytes());
        if !heads.is_empty() {
            body.extend_from_slice(&(9 * heads.len() as u32).to_be_bytes());
            for (conn, shape) in heads {
                body.extend_from_slice(&conn.to_be_bytes());
                body.push(*shape);
            }
            body.extend_from_slice(&bytes(&list(terms)));
        }
        self.section(2, &body);
    }

    /// What a handler publishes.
    pub fn publish(&mut self, id: u64, what: &Term) {
        let mut body = id.to_be_bytes().to_vec();
        body.extend_from_slice(&bytes(what));
        self.section(10, &body);
    }

    /// The next batch of an Id: whether more waits, and pairs.
    pub fn batch(&mut self, wanted: u64) -> (bool, Vec<(Term, Term)>) {
        let (more, events) = self.find(|s| match s {
            Section::Batch {
                id, more, events, ..
            } if *id == wanted => Some((*more, events.clone())),
            _ => None,
        });
        (more, events)
    }

    /// The next event. Its batch is acknowledged: on a slow machine it may have the one after it, too.
    pub fn event(&mut self, id: u64) -> (Term, Term) {
        if let Some(event) = self.later.get_mut(&id).and_then(VecDeque::pop_front) {
            return event;
        }
        let (_, mut events) = self.batch(id);
        // It stands before each close event of a handler.
        events.retain(|(_, event)| *event != atom("ending"));
        self.commands(id, 1, 0, Vec::new());
        let mut events = VecDeque::from(events);
        let first = events.pop_front().expect("an event");
        self.later.insert(id, events);
        first
    }

    pub fn message(&mut self, wanted: u64) -> Term {
        self.find(|s| match s {
            Section::Message(id, term) if *id == wanted => Some(term.clone()),
            _ => None,
        })
    }

    /// A server, and the Id of its process 1, and its port.
    pub fn listen(&mut self, number: i64, options: &[(&str, Term)]) -> (u64, u16) {
        let answer = self.call(1, "listen", vec![config(number, options)]);
        let parts = answer.tuple().unwrap();
        assert!(parts[0].is("return"), "{answer:?}");
        let listening = parts[1].tuple().unwrap();
        assert_eq!(&listening[..2], [atom("ok"), int(number)], "{answer:?}");
        let port = listening[2].get_as("port").unwrap();
        (self.expect_watch("host", 1), port)
    }

    /// A handler, process 2, in the pool of a server.
    pub fn handler(&mut self, number: i64) -> u64 {
        let answer = self.call(2, "inbox_open", vec![int(number), int(0)]);
        let id = self.expect_watch("handler", 2);
        assert_eq!(answer, returned(int(id as i64)));
        id
    }
}

pub fn returned(value: Term) -> Term {
    tagged("return", value)
}

pub fn raised() -> Term {
    tagged("raise", atom("badarg"))
}

pub fn error(reason: Term) -> Term {
    returned(tagged("error", reason))
}
