//! Random numbers from one seed.

use crate::with;

/// A generator of numbers (SplitMix64): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Chance(seed ^ 0x5EED_0F50_C4E7_E001)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below this one; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.number() % bound }
    }

    /// True in so many of so many cases.
    pub fn is(&mut self, part: u64, of: u64) -> bool {
        self.below(of) < part
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A number below this one, of the world's.
pub fn draw(bound: u64) -> u64 {
    with(|world| world.chance.borrow_mut().below(bound))
}

/// True in so many of so many cases.
pub fn chance(part: u64, of: u64) -> bool {
    draw(of) < part
}

/// One of these.
pub fn draw_from<T: Copy>(from: &[T]) -> T {
    from[draw(from.len() as u64) as usize]
}

/// The seed of the world.
pub fn seed() -> u64 {
    with(|world| world.seed.get())
}
