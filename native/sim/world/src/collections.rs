//! Tables whose order is the seed's.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

/// A map.
pub type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
/// A set.
pub type HashSet<K> = std::collections::HashSet<K, RandomState>;

/// How they hash.
#[derive(Clone, Debug)]
pub struct RandomState(u64);

impl Default for RandomState {
    fn default() -> Self {
        RandomState(crate::seed())
    }
}

impl BuildHasher for RandomState {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
