//! The bindings of an exchange that chooses one of them: by chance, or by a hash.

use super::{
    Keys,
    binding::Binding,
    circumstances::{Circumstances, share},
    stable::Stable,
    targets::{Basis, Found, Target},
};

/// Bindings in an order that depends on nothing but themselves, so that the same are chosen after a
/// restart.
#[derive(Debug, Default)]
pub(super) struct Choices(Vec<(Binding, Target)>);

impl Choices {
    pub(super) fn add(&mut self, binding: &Binding, target: Target) {
        if let Err(place) = self.place(binding) {
            self.0.insert(place, (binding.clone(), target));
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        if let Ok(place) = self.place(binding) {
            self.0.remove(place);
        }
    }

    /// `x-random`, `x-local-random`: any binding, whatever the key.
    pub(super) fn find_any(&self, circumstances: &mut dyn Circumstances, found: &mut Found<'_>) {
        match &self.0[..] {
            [] => {}
            [(_, only)] => found.take_one(*only),
            several => {
                found.depends_on(Basis::Chance);
                let place = share(circumstances.draw(), several.len());
                found.take_one(several[place].1);
            }
        }
    }

    /// `x-modulus-hash`: by the hash of all routing keys, modulo the number of bindings.
    pub(super) fn find_by_modulus(&self, keys: Keys<'_>, found: &mut Found<'_>) {
        if self.0.is_empty() {
            return;
        }
        // The length, too: or "a", "bc" would be "ab", "c".
        let hash = keys.fold(Stable::new(), |hash, key| {
            hash.with(key).with(&(key.len() as u64).to_le_bytes())
        });
        let place = hash.finish() % self.0.len() as u64;
        found.take_one(self.0[place as usize].1);
    }

    fn place(&self, binding: &Binding) -> Result<usize, usize> {
        self.0.binary_search_by(|(present, _)| present.cmp(binding))
    }
}
