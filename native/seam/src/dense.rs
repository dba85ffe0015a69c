//! Pieces of 256 bytes that begin where 128 divides their address, side by side.
//!
//! tokio has such a piece for each socket. By itself the C library leaves up to 112 bytes before each, which nothing else may
//! ever need, and a word in front of it. Here 63 of them share a block.
//!
//! Larger ones that begin so are its tasks, of handshakes above all. glibc before 2.38 puts none of them where one of the same size was:
//! it looks for 160 bytes more than it takes. So these are asked for 128 bytes larger, without the alignment, and where they begin
//! stands before them.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{null_mut, with_exposed_provenance_mut};
use std::sync::{Mutex, PoisonError};

const PIECE: usize = 256;
const ALIGN: usize = 128;
/// A block begins where its own size divides the address, so each of its pieces knows where.
const BLOCK: usize = 16 * 1024;
/// The first place of a block has its head.
const PIECES: usize = BLOCK / PIECE - 1;

/// What any allocator aligns to on 64 bits, and more than a pointer has.
const WORDS: usize = 16;

const LAYOUT: Layout = match Layout::from_size_align(BLOCK, BLOCK) {
    Ok(layout) => layout,
    Err(_) => panic!("a size that is a power of two"),
};

/// The system's allocator, but for such pieces.
pub struct Dense(Mutex<Blocks>);

struct Blocks {
    /// Those with room, in a list.
    first: *mut Block,
    /// All of them.
    count: usize,
}

struct Block {
    /// Pieces that came back, in a list.
    free: *mut Free,
    /// Pieces that were ever handed out. The memory behind them has not been touched.
    touched: usize,
    used: usize,
    before: *mut Block,
    after: *mut Block,
}

struct Free {
    next: *mut Free,
}

// SAFETY: the pointers are to blocks that only the holder of the lock looks into.
unsafe impl Send for Blocks {}

impl Dense {
    /// One without blocks.
    #[expect(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Dense(Mutex::new(Blocks {
            first: null_mut(),
            count: 0,
        }))
    }

    /// Whether something is such a piece.
    #[inline]
    pub const fn takes(layout: Layout) -> bool {
        layout.size() == PIECE && layout.align() == ALIGN
    }

    /// What something that is no such piece asks of the system's allocator.
    #[inline]
    pub const fn asks(layout: Layout) -> Layout {
        if layout.align() != ALIGN {
            return layout;
        }
        match Layout::from_size_align(layout.size().saturating_add(ALIGN), WORDS) {
            Ok(larger) => larger,
            // So large that there is none: the system's allocator will say so.
            Err(_) => layout,
        }
    }

    #[cold]
    fn piece(&self) -> *mut u8 {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the lock is held.
        unsafe { blocks.hand_out() }
    }

    #[cold]
    fn free(&self, at: *mut u8) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the lock is held, and who frees something has it from here.
        unsafe { blocks.take_back(at) };
    }
}

impl Blocks {
    /// # Safety
    /// Who calls has the only access to the blocks.
    unsafe fn hand_out(&mut self) -> *mut u8 {
        if self.first.is_null() {
            // SAFETY: the layout has a size.
            let block: *mut Block = unsafe { System.alloc(LAYOUT) }.cast();
            if block.is_null() {
                return null_mut();
            }
            block.expose_provenance();
            let empty = Block {
                free: null_mut(),
                touched: 0,
                used: 0,
                before: null_mut(),
                after: null_mut(),
            };
            // SAFETY: it is ours, has room for a head, which is smaller than a piece, and is aligned for one.
            unsafe { block.write(empty) };
            self.count += 1;
            // SAFETY: it is on no list.
            unsafe { self.link(block) };
        }
        let at = self.first;
        // SAFETY: blocks on the list are alive, and nobody else looks into them. One with room and no free pieces has untouched
        // ones: behind the head, and no more than PIECES. Free pieces are ours, and were written when they came back.
        unsafe {
            (*at).used += 1;
            let piece = (*at).free;
            let piece = if piece.is_null() {
                (*at).touched += 1;
                at.cast::<u8>().add((*at).touched * PIECE)
            } else {
                (*at).free = (*piece).next;
                piece.cast()
            };
            if (*at).used == PIECES {
                self.unlink(at);
            }
            piece
        }
    }

    /// # Safety
    /// As above; the piece was handed out here, and nobody uses it any more.
    unsafe fn take_back(&mut self, piece: *mut u8) {
        // Not by way of the piece's own pointer, which is for the piece alone.
        let at: *mut Block = with_exposed_provenance_mut(piece.addr() & !(BLOCK - 1));
        let free: *mut Free = with_exposed_provenance_mut(piece.addr());
        // SAFETY: a block lives while a piece of it does, and begins at the multiple of its size before it. The piece is ours
        // again, is larger than what is written, and aligned for it. A full block is on no list, any other is on it. When none of its
        // pieces is used, nobody has a pointer into it.
        unsafe {
            free.write(Free { next: (*at).free });
            (*at).free = free;
            (*at).used -= 1;
            if (*at).used == PIECES - 1 {
                self.link(at);
            }
            // One is kept for the next sockets, or they would come and go with a block each.
            let is_only = self.first == at && (*at).after.is_null();
            if (*at).used == 0 && !is_only {
                self.unlink(at);
                System.dealloc(at.cast(), LAYOUT);
                self.count -= 1;
            }
        }
    }

    /// # Safety
    /// The block is alive and on no list.
    unsafe fn link(&mut self, at: *mut Block) {
        let after = self.first;
        // SAFETY: those on the list are alive.
        unsafe {
            (*at).before = null_mut();
            (*at).after = after;
            if !after.is_null() {
                (*after).before = at;
            }
        }
        self.first = at;
    }

    /// # Safety
    /// The block is on the list.
    unsafe fn unlink(&mut self, at: *mut Block) {
        // SAFETY: it and its neighbours are alive.
        unsafe {
            let (before, after) = ((*at).before, (*at).after);
            match before.is_null() {
                true => self.first = after,
                false => (*before).after = after,
            }
            if !after.is_null() {
                (*after).before = before;
            }
        }
    }
}

/// Where something that was asked for begins, inside what has been got for it.
///
/// # Safety
/// What has been got is null or as [`Dense::asks`] says, and belongs to who calls.
unsafe fn begin(got: *mut u8, layout: Layout) -> *mut u8 {
    if got.is_null() || layout.align() != ALIGN {
        return got;
    }
    let skipped = ALIGN - got.addr() % ALIGN;
    // SAFETY: what has been got is 128 bytes larger, and no more are skipped; as 16 divides both addresses, no less than 16 are, so a
    // pointer has room before it. It is aligned: 16 divides the address behind it.
    unsafe {
        let at = got.add(skipped);
        at.cast::<*mut u8>().sub(1).write(got);
        at
    }
}

/// What was got for something.
///
/// # Safety
/// It came from [`begin`] with this layout, and is not freed yet.
unsafe fn got(at: *mut u8, layout: Layout) -> *mut u8 {
    if layout.align() != ALIGN {
        return at;
    }
    // SAFETY: `begin` has written it there, and nobody else writes before what is theirs.
    unsafe { at.cast::<*mut u8>().sub(1).read() }
}

// SAFETY: a piece goes back to where it came from, as its layout says. Pieces do not overlap, and are aligned: a block is, and
// its places are multiples of 256. What else is aligned as they are has its place in something that is so much larger. All else goes to
// the system's allocator as it came. Nothing here panics: the counts are those of the pieces of a block.
unsafe impl GlobalAlloc for Dense {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::takes(layout) {
            return self.piece();
        }
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { begin(System.alloc(Self::asks(layout)), layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Self::takes(layout) {
            let at = self.piece();
            if !at.is_null() {
                // SAFETY: it is ours, and so large.
                unsafe { at.write_bytes(0, PIECE) };
            }
            return at;
        }
        // SAFETY: as above.
        unsafe { begin(System.alloc_zeroed(Self::asks(layout)), layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if Self::takes(layout) {
            return self.free(at);
        }
        // SAFETY: as above.
        unsafe { System.dealloc(got(at, layout), Self::asks(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() != ALIGN {
            // SAFETY: as above; neither the old nor the new one is a piece.
            return unsafe { System.realloc(at, layout, size) };
        }
        // SAFETY: the caller promises that the size is none that overflows.
        let new = unsafe { Layout::from_size_align_unchecked(size, ALIGN) };
        // SAFETY: the caller's promises are those that are asked for; both have the bytes that are copied.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(at, layout.size().min(size));
                self.dealloc(at, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Layout = match Layout::from_size_align(PIECE, ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("a piece"),
    };

    fn taken(dense: &Dense, mark: u8) -> *mut u8 {
        // SAFETY: the layout has a size; what comes is so large.
        unsafe {
            let at = dense.alloc(ONE);
            assert!(!at.is_null() && at.addr().is_multiple_of(ALIGN));
            at.write_bytes(mark, PIECE);
            at
        }
    }

    fn given_back(dense: &Dense, at: *mut u8, mark: u8) {
        // SAFETY: it was taken above, and is not used any more.
        unsafe {
            assert_eq!(std::slice::from_raw_parts(at, PIECE), [mark; PIECE]);
            dense.dealloc(at, ONE);
        }
    }

    fn blocks(dense: &Dense) -> usize {
        dense.0.lock().unwrap().count
    }

    /// All have been given back: the block that is kept is not leaked to Miri.
    fn end(dense: &Dense) {
        let mut blocks = dense.0.lock().unwrap();
        assert_eq!(blocks.count, 1);
        // SAFETY: nobody has a piece of it.
        unsafe { System.dealloc(blocks.first.cast(), LAYOUT) };
        blocks.first = null_mut();
    }

    #[test]
    fn pieces_keep_what_is_written_and_blocks_go_when_they_are_empty() {
        let dense = Dense::new();
        // In three orders: the first first, the last first, and every third of what is left.
        for step in [1, 2, 3] {
            let mut all: Vec<_> = (0..PIECES * 3 + 1)
                .map(|n| (taken(&dense, n as u8), n as u8))
                .collect();
            assert_eq!(blocks(&dense), 4);
            while !all.is_empty() {
                let next = match step {
                    1 => 0,
                    2 => all.len() - 1,
                    _ => (all.len() / 3 * 2).min(all.len() - 1),
                };
                let (at, mark) = all.remove(next);
                given_back(&dense, at, mark);
            }
            assert_eq!(blocks(&dense), 1);
        }
        end(&dense);
    }

    #[test]
    fn a_place_that_is_free_is_the_next_one() {
        let dense = Dense::new();
        let mut all: Vec<_> = (0..PIECES * 2).map(|_| taken(&dense, 1)).collect();
        let holes: Vec<_> = (0..10).map(|n| all.remove(n * 7)).collect();
        holes.iter().for_each(|at| given_back(&dense, *at, 1));
        let mut again: Vec<_> = holes.iter().map(|_| taken(&dense, 1)).collect();
        assert_eq!(blocks(&dense), 2);
        all.append(&mut again);
        all.into_iter().for_each(|at| given_back(&dense, at, 1));
        end(&dense);
    }

    #[test]
    fn other_layouts_and_changes_of_size_keep_their_bytes() {
        let dense = Dense::new();
        for (from, align) in [
            (PIECE, ALIGN),
            (PIECE, 8),
            (300, ALIGN),
            (9, ALIGN),
            (40, 8),
        ] {
            for to in [PIECE, 512, 40] {
                let old = Layout::from_size_align(from, align).unwrap();
                let new = Layout::from_size_align(to, align).unwrap();
                // SAFETY: sizes are above zero, and each layout is the one that the piece has then.
                unsafe {
                    let at = dense.alloc_zeroed(old);
                    assert!((0..from).all(|n| at.add(n).read() == 0));
                    at.write_bytes(7, from);
                    let at = dense.realloc(at, old, to);
                    assert!((0..from.min(to)).all(|n| at.add(n).read() == 7));
                    assert!(at.addr().is_multiple_of(align));
                    dense.dealloc(at, new);
                }
            }
        }
        end(&dense);
    }

    #[test]
    fn one_thread_takes_and_another_gives_back() {
        let dense = Dense::new();
        let (give, take) = std::sync::mpsc::channel::<(usize, u8)>();
        let rounds = if cfg!(miri) { 40 } else { 20_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (at, mark) in take {
                    given_back(&dense, with_exposed_provenance_mut(at), mark);
                }
            });
            for mark in 1..=2 {
                let (give, dense) = (give.clone(), &dense);
                scope.spawn(move || {
                    for _ in 0..rounds {
                        give.send((taken(dense, mark).expose_provenance(), mark))
                            .unwrap();
                    }
                });
            }
            drop(give);
        });
        end(&dense);
    }
}
