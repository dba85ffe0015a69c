//! Descriptors of the VM: they come over a Unix socket of their own (`SCM_RIGHTS`), and are called for by number.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Bytes of a number.
const NUMBER: usize = 8;

/// The VM calls for one before it sends the next. Of those that nobody has called for, the oldest go.
const MOST: usize = 64;

#[derive(Default)]
pub(crate) struct PassedDescriptors(Mutex<BTreeMap<u64, OwnedFd>>);

impl PassedDescriptors {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptor that came with this number.
    pub(crate) fn take(&self, number: u64) -> Option<OwnedFd> {
        self.lock().remove(&number)
    }

    fn put(&self, number: u64, descriptor: OwnedFd) {
        let mut passed = self.lock();
        passed.insert(number, descriptor);
        while passed.len() > MOST {
            passed.pop_first();
        }
    }

    /// Waits for the VM at this path, and then for descriptors, until it hangs up.
    pub(crate) fn listen(self: &Arc<Self>, path: &[u8]) -> io::Result<()> {
        let path = PathBuf::from(OsStr::from_bytes(path));
        let listener = UnixListener::bind(&path)?;
        let this = self.clone();
        let thread = std::thread::Builder::new().name("sockeye-passed".into());
        thread.spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                drop(listener);
                let _ = std::fs::remove_file(path);
                this.receive(stream);
            }
        })?;
        Ok(())
    }

    /// Each comes with its number, and is answered with a byte.
    fn receive(&self, mut stream: UnixStream) {
        while let Ok(Some((number, descriptor))) = next(&stream) {
            self.put(number, descriptor);
            if stream.write_all(&[1]).is_err() {
                return;
            }
        }
    }
}

fn next(stream: &UnixStream) -> io::Result<Option<(u64, OwnedFd)>> {
    let mut number = [0; NUMBER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut number)];
    let got = recvmsg(stream, &mut slices, &mut ancillary, RecvFlags::empty())?;
    let mut came = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = came.next().and_then(|mut descriptors| descriptors.next());
    Ok(match descriptor {
        Some(descriptor) if got.bytes == NUMBER => Some((u64::from_be_bytes(number), descriptor)),
        _ => None,
    })
}
