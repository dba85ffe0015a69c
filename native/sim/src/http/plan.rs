//! What is asked for, and how its answer is taken.

use std::time::Duration;

use sockeye_world::Chance;

use crate::drawn::{Reads, between, millis};
use crate::http2::plan::CarrierPlan;

/// Somebody who asks.
#[derive(Clone, Debug)]
pub struct AskerPlan {
    /// Over this connection of HTTP/2, all at once; else over a socket, one after the other.
    pub carrier: Option<usize>,
    /// Of the server before the one that is looked at.
    pub behind: bool,
    pub start: Duration,
    pub asks: Vec<Ask>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum What {
    #[default]
    Text,
    File,
    /// A process of the VM answers.
    Ask,
}

/// A request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    pub what: What,
    /// No other one has it.
    pub number: u64,
    pub pause: Duration,
    /// It wants the head of the answer only.
    pub is_head: bool,
    /// Over a socket, it is said together with the one behind it.
    pub together: bool,
    /// Bytes of its content, and whether that comes in chunks.
    pub body: usize,
    pub chunked: bool,
    /// Bytes of the answer, and in how many pieces a process gives it; 0: at once.
    pub answer: usize,
    pub pieces: usize,
    /// The process breaks it off at the end.
    pub breaks: bool,
    pub reads: Reads,
    /// Who asks leaves when it has read so much.
    pub leaves: Option<usize>,
}

/// Those who ask in this world.
pub(crate) fn draw(
    chance: &mut Chance,
    fair: bool,
    window: usize,
    carriers: usize,
) -> Vec<AskerPlan> {
    if !chance.is(1, 3) {
        return Vec::new();
    }
    let count = between(chance, 1, 3);
    (0..count)
        .map(|n| asker(chance, fair, window, (n, carriers)))
        .collect()
}

fn asker(chance: &mut Chance, fair: bool, window: usize, (n, carriers): (u64, usize)) -> AskerPlan {
    let carrier = carriers > 0 && chance.is(2, 3);
    // More than may be open at once.
    let most = if carrier && chance.is(1, 6) { 130 } else { 6 };
    let count = between(chance, 1, most);
    let is_small = window < 8_000 || count > 10;
    let asks = (0..count).map(|m| Ask {
        number: 1000 * (n + 1) + m,
        ..ask(chance, fair, is_small)
    });
    let asks = asks.collect();
    AskerPlan {
        carrier: carrier.then(|| chance.below(carriers as u64) as usize),
        behind: false,
        start: millis(chance, 0, 3000),
        asks,
    }
}

/// Requests of other kinds among these. Who leaves, or stops to read, has said no other one.
pub(crate) fn vary(chance: &mut Chance, askers: &mut [AskerPlan]) {
    for asker in askers {
        let often = chance.pick(&[0, 0, 1, 3]);
        for ask in &mut asker.asks {
            ask.is_head = ask.body == 0 && !ask.breaks && chance.is(1, 6);
            let reads_all = ask.leaves.is_none() && !matches!(ask.reads, Reads::Until(_));
            ask.together = reads_all && !ask.breaks && chance.is(often, 4);
        }
    }
}

/// Somebody who takes a little of a long answer each second, over a connection of HTTP/2: a server that stops does not wait for the end.
pub(crate) fn drag(chance: &mut Chance, carriers: &mut [CarrierPlan], askers: &mut [AskerPlan]) {
    let over_http2 = |asker: &&mut AskerPlan| asker.carrier.is_some();
    let Some(asker) = askers.iter_mut().find(over_http2) else {
        return;
    };
    let carrier = asker.carrier.and_then(|number| carriers.get_mut(number));
    if let (Some(carrier), Some(ask)) = (carrier, asker.asks.last_mut()) {
        (carrier.window, carrier.slow, carrier.trouble) = (400, None, None);
        *ask = Ask {
            what: What::Ask,
            number: ask.number,
            pause: ask.pause,
            answer: 200_000,
            reads: Reads::Slowly(millis(chance, 500, 900)),
            ..Ask::default()
        };
    }
}

/// Many who have much to say, all at once, over a connection of HTTP/2.
pub(crate) fn crowd(chance: &mut Chance, carriers: usize, askers: &mut Vec<AskerPlan>) {
    let number = askers.len() as u64 + 1;
    // Two sizes: what is cut on the link of an engine in a process of its own, and what is not.
    let body = chance.pick(&[3_000, 20_000]);
    let ask = |n| Ask {
        what: What::Ask,
        number: 1000 * number + n,
        pause: millis(chance, 0, 300),
        body,
        answer: 300,
        ..Ask::default()
    };
    let asks = (0..60).map(ask).collect();
    if carriers > 0 {
        askers.push(AskerPlan {
            carrier: Some(chance.below(carriers as u64) as usize),
            behind: false,
            start: millis(chance, 0, 3000),
            asks,
        });
    }
}

fn ask(chance: &mut Chance, fair: bool, is_small: bool) -> Ask {
    let sizes = [0, 1, 300, 5_000, 70_000, 200_000];
    let most = if is_small { 4 } else { sizes.len() };
    let what = match chance.below(5) {
        0 => What::Text,
        1 if !is_small => What::File,
        _ => What::Ask,
    };
    let has_body = what == What::Ask && chance.is(1, 2);
    let body = chance.pick(&sizes[..most]);
    let good = fair || chance.is(1, 2);
    let reads = match chance.below(if good { 4 } else { 6 }) {
        0 => Reads::Slowly(millis(chance, 1, 30)),
        4 => Reads::Slowly(millis(chance, 1, 3000)),
        5 => Reads::Until(chance.pick(&[0, 200, 5000])),
        _ => Reads::Always,
    };
    let in_pieces = what == What::Ask && chance.is(1, 2);
    let pieces = if in_pieces { between(chance, 1, 8) } else { 0 } as usize;
    Ask {
        what,
        number: 0,
        is_head: false,
        together: false,
        pause: millis(chance, 0, 300),
        body: if has_body { body } else { 0 },
        chunked: chance.is(1, 2),
        answer: chance.pick(&sizes[..most]),
        pieces,
        breaks: pieces > 0 && chance.is(1, 10),
        reads,
        leaves: (!good && chance.is(1, 2)).then(|| chance.pick(&[0, 100, 10_000])),
    }
}
