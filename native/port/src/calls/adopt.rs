//! The calls that take over sockets of the VM.

use sockeye_engine::Detached;
use sockeye_seam::settings::ends;
use sockeye_seam::value::{BadArg, Read};
use sockeye_seam::{Atom, errno, events};

use super::Call;

impl Call<'_> {
    /// Waits for descriptors at this path.
    pub(super) fn descriptors_open(self) -> Read<()> {
        let [path] = self.args()?;
        match self.port.passed.listen(self.bytes(path)?) {
            Ok(()) => self.reply_to.ok(),
            Err(e) => self.reply_to.error(errno(&e)),
        }
        Ok(())
    }

    pub(super) fn adopt(self) -> Read<()> {
        let [server, ticket, descriptor, read] = self.args()?;
        let passed = self.port.passed.take(self.number(descriptor)?);
        let server = self.server(server)?;
        let (ticket, read) = (self.number(ticket)?, self.bytes(read)?.to_vec());
        let engine = self.port.engine().ok_or(BadArg)?;
        let socket = match Detached::new(passed.ok_or(BadArg)?) {
            Ok(socket) => socket,
            Err(e) => {
                self.reply_to.error(errno(&e));
                return Ok(());
            }
        };
        if ticket == 0 {
            engine.adopt(&server, socket, read);
        } else if !engine.settle(&server, ticket, socket, read) {
            self.reply_to.error(Atom::closed);
            return Ok(());
        }
        self.reply_to.ok();
        Ok(())
    }

    /// The answer comes when the server has decided about this request.
    pub(super) fn admit(self) -> Read<()> {
        let [server, head, ends_of] = self.args()?;
        let server = self.server(server)?;
        let head = self.bytes(head)?.to_vec();
        let ends = ends(&self.value(ends_of)?)?;
        let engine = self.port.engine().ok_or(BadArg)?;
        let reply_to = self.reply_to;
        let reply = move |verdict| reply_to.answer(|w| events::verdict(w, &verdict));
        engine.admit(&server, head, ends, Box::new(reply));
        Ok(())
    }
}
