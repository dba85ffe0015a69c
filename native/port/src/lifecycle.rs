//! From the first line on standard input to the end.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sockeye_seam::events;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::calls;
use crate::link::hello::{self, Hello};
use crate::link::packets::{Broken, Incoming};
use crate::os::descriptors;
use crate::sections::serve;
use crate::server::port::Port;
use crate::world::thread;

/// Hexadecimal digits.
const SECRET: usize = 64;
/// Time for a hello on a connection, and for the VM to come at all.
const HELLO: Duration = Duration::from_secs(1);
const COME: Duration = Duration::from_secs(10);
/// For an end in order.
const PATIENCE: Duration = Duration::from_millis(1800);
/// Strangers that are hung up on before this gives up.
const STRANGERS: usize = 16;

/// The thread that waits for the end of standard input.
const STDIN: &str = "sockeye-stdin";

/// How this process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    InOrder = 0,
    Usage = 2,
    Socket = 3,
    Protocol = 4,
    Nobody = 5,
}

/// A line for the log. Nobody may be there to read it.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

static PORT: OnceLock<Arc<Port>> = OnceLock::new();

/// Does all of it.
pub fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    report_panics();
    let (Some(path), None) = (args.next(), args.next()) else {
        say("usage: sockeye-engine PATH; the secret is the first line of standard input");
        return ExitCode::from(End::Usage as u8);
    };
    let descriptors = descriptors::take_all();
    let Some(secret) = read_secret() else {
        say("the first line of standard input is no secret of 64 hexadecimal digits");
        return ExitCode::from(End::Usage as u8);
    };
    watch_standard_input();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let end = match runtime {
        Ok(runtime) => {
            let _context = runtime.enter();
            let _ignored = ignore_signals();
            runtime.block_on(serve(Path::new(&path), &secret, descriptors))
        }
        Err(e) => {
            say(&format!("no runtime: {e}"));
            End::Socket
        }
    };
    finish(end)
}

/// Who ends a service sends its signal to all its processes. The node drains then, and this process ends with it: no signal but
/// SIGKILL ends it before. Once received in the program, they have no other effect for the rest of its life.
fn ignore_signals() -> Vec<Signal> {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ];
    kinds.into_iter().flat_map(signal).collect()
}

fn read_secret() -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(SECRET + 1);
    // No buffer: what comes next is for who watches.
    let input = io::stdin();
    input
        .lock()
        .take(SECRET as u64 + 1)
        .read_to_end(&mut line)
        .ok()?;
    let (last, secret) = line.split_last()?;
    let whole = *last == b'\n' && secret.len() == SECRET;
    (whole && secret.iter().all(u8::is_ascii_hexdigit)).then(|| secret.to_vec())
}

/// The VM is gone when its end of the pipe is.
fn watch_standard_input() {
    let watch = || {
        let mut input = io::stdin().lock();
        let mut buffer = [0; 64];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Err(e) if e.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        drop(input);
        finish(End::InOrder);
    };
    let thread = std::thread::Builder::new().name(STDIN.into());
    if let Err(e) = thread.spawn(watch) {
        say(&format!("no thread: {e}"));
    }
}

/// Closes all connections and ends the process, whatever else is under way.
fn finish(end: End) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if ENDING.swap(true, Ordering::SeqCst) {
        // Another thread does it.
        loop {
            std::thread::park();
        }
    }
    remove_file();
    // Whatever hangs in here, nothing is left of it.
    let last_resort = || {
        std::thread::sleep(PATIENCE);
        std::process::abort();
    };
    let _ = std::thread::Builder::new().spawn(last_resort);
    if let Some(port) = PORT.get() {
        port.stop();
    }
    std::process::exit(end as i32);
}

/// The socket's file, as long as there is one.
static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

fn remove_file() {
    let path = FILE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
}

async fn serve(path: &Path, secret: &[u8], descriptors: u64) -> End {
    let listener = match UnixListener::bind(path) {
        Ok(listener) => listener,
        Err(e) => {
            say(&format!("cannot listen at {}: {e}", path.display()));
            return End::Socket;
        }
    };
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.into());
    let _ = writeln!(io::stdout(), "ready");
    let _ = io::stdout().flush();
    let came = timeout(COME, welcome(&listener, secret, descriptors)).await;
    drop(listener);
    match came {
        Ok(Ok((stream, incoming))) => speak(stream, incoming).await,
        Ok(Err(end)) => end,
        Err(_) => {
            say("nobody came");
            End::Nobody
        }
    }
}

/// Waits for who knows the secret.
async fn welcome(
    listener: &UnixListener,
    secret: &[u8],
    descriptors: u64,
) -> Result<(UnixStream, Incoming), End> {
    for _ in 0..=STRANGERS {
        let Ok((mut stream, _)) = listener.accept().await else {
            return Err(End::Socket);
        };
        let mut incoming = Incoming::default();
        let said = timeout(HELLO, first_packet(&mut stream, &mut incoming)).await;
        let hello = match said {
            Ok(Some(packet)) => hello::read(&packet, secret),
            _ => Hello::Stranger,
        };
        if hello == Hello::Welcome {
            // Who has the answer finds nothing there any more.
            remove_file();
        }
        let answered = stream.write_all(&hello::answer(hello, descriptors)).await;
        match hello {
            Hello::Welcome if answered.is_ok() => return Ok((stream, incoming)),
            Hello::Welcome => return Err(End::InOrder),
            Hello::Stranger => {}
            Hello::Protocol | Hello::Version => {
                say("the VM's side is of another version");
                return Err(End::Protocol);
            }
        }
    }
    say("too many that do not know the secret");
    Err(End::Nobody)
}

async fn first_packet(stream: &mut UnixStream, incoming: &mut Incoming) -> Option<Vec<u8>> {
    loop {
        if let Some(packet) = incoming.packet(hello::LONGEST).ok()? {
            return Some(packet);
        }
        if stream.read_buf(incoming.room()).await.ok()? == 0 {
            return None;
        }
    }
}

/// The link stands.
async fn speak(stream: UnixStream, incoming: Incoming) -> End {
    let (reader, writer) = stream.into_split();
    let port = PORT.get_or_init(|| serve::begin(writer));
    match serve::listen(reader, incoming, port).await {
        Ok(()) => End::InOrder,
        Err(Broken(how)) => {
            say(&format!("the VM's side breaks the protocol: {how}"));
            End::Protocol
        }
    }
}

/// Where a panic is caught, it costs a connection, and is told to the process that started the engine. Anywhere else it ends all
/// at once: somebody would wait for ever, and another process is started in the place of this one.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.to_string().replace('\n', " ");
        let is_caught = !matches!(
            std::thread::current().name(),
            Some("main" | calls::THREAD | STDIN)
        );
        match PORT.get() {
            // This thread may hold what telling needs.
            Some(port) if is_caught => thread::in_turn(move || {
                port.tell_engine(|w| {
                    events::panicked(w, &message);
                });
            }),
            _ => {
                say(&message);
                std::process::abort();
            }
        }
    }));
}
