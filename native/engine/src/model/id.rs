//! The name of a connection, as other threads and the Erlang side know it.

/// Bits of a slot number: at most 16 million connections a shard.
pub(crate) const SLOT_BITS: u32 = 24;
/// Bits of a generation: how often a slot was used, starting at a random value.
pub(crate) const GENERATION_BITS: u32 = 29;
/// Bits of a shard number.
pub(crate) const SHARD_BITS: u32 = 6;

/// The greatest number of shards that an id can name.
pub(crate) const MAX_SHARDS: usize = 1 << SHARD_BITS;

/// A connection: shard, slot and generation in 59 bits, so that it fits an Erlang small integer.
///
/// An id is never used again within half a billion uses of its slot, and the generation
/// starts at random: an id kept from an earlier run of the node names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(u64);

impl ConnId {
    pub(crate) fn new(shard: usize, slot: u32, generation: u32) -> Self {
        ConnId(
            ((shard as u64) << (SLOT_BITS + GENERATION_BITS))
                | (u64::from(slot) << GENERATION_BITS)
                | u64::from(generation),
        )
    }

    /// The id with this number, if a number of that size can be one.
    pub fn from_u64(raw: u64) -> Option<Self> {
        let valid = raw >> (SHARD_BITS + SLOT_BITS + GENERATION_BITS) == 0;
        (valid && ConnId(raw).generation() != 0).then_some(ConnId(raw))
    }

    /// The id as a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The shard that runs the connection.
    pub fn shard(self) -> usize {
        (self.0 >> (SLOT_BITS + GENERATION_BITS)) as usize
    }

    pub(crate) fn slot(self) -> u32 {
        ((self.0 >> GENERATION_BITS) as u32) & ((1 << SLOT_BITS) - 1)
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 as u32) & ((1 << GENERATION_BITS) - 1)
    }
}

/// The generation after this one; 0 is never used.
pub(crate) fn next_generation(generation: u32) -> u32 {
    let next = (generation + 1) & ((1 << GENERATION_BITS) - 1);
    if next == 0 { 1 } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let id = ConnId::new(63, (1 << SLOT_BITS) - 1, (1 << GENERATION_BITS) - 1);
        assert_eq!(id.shard(), 63);
        assert_eq!(id.slot(), (1 << SLOT_BITS) - 1);
        assert_eq!(id.generation(), (1 << GENERATION_BITS) - 1);
        assert_eq!(ConnId::from_u64(id.as_u64()), Some(id));
        assert!(id.as_u64() < 1 << 59);
    }

    #[test]
    fn invalid_ids_are_refused() {
        assert_eq!(ConnId::from_u64(1 << 59), None);
        assert_eq!(ConnId::from_u64(0), None);
        assert_eq!(ConnId::from_u64(1 << GENERATION_BITS), None);
    }

    #[test]
    fn generations_skip_zero() {
        assert_eq!(next_generation((1 << GENERATION_BITS) - 1), 1);
        assert_eq!(next_generation(1), 2);
    }
}
