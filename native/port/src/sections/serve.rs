//! Reads the link until it ends, and carries out what comes.

use std::sync::Arc;

use tokio::io::AsyncReadExt;

use crate::link::Link;
use crate::link::packets::{Broken, Incoming};
use crate::sections;
use crate::sections::gathered::Gathered;
use crate::server::port::Port;
use crate::world::net::{OwnedReadHalf, OwnedWriteHalf};
use crate::world::task;

/// What this half of the socket is for.
pub(crate) fn begin(writer: OwnedWriteHalf) -> Arc<Port> {
    let link = Link::new(writer);
    let port = Port::new(link.clone());
    task::start(async move { link.write_on().await });
    port
}

/// Does what the VM says, until it is gone.
pub(crate) async fn listen(
    mut reader: OwnedReadHalf,
    mut incoming: Incoming,
    port: &Arc<Port>,
) -> Result<(), Broken> {
    let mut gathered = Gathered::default();
    loop {
        let done =
            incoming.sections(|kind, body| sections::carry_out(port, kind, body, &mut gathered));
        gathered.hand_over(port);
        port.link.flush();
        done?;
        match reader.read_buf(incoming.room()).await {
            Ok(n) if n > 0 => {}
            _ => return Ok(()),
        }
    }
}
