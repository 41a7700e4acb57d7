//! Tensor names as numbers, so that a model of hundreds of tensors is compared and indexed quickly; and where texts are that others
//! keep.

use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// A tensor name, by its entry in [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameId(u32);

/// All tensor names of one elaboration.
#[derive(Default)]
pub struct Names {
    texts: Vec<Rc<str>>,
    ids: FxHashMap<Rc<str>, NameId>,
}

impl Names {
    /// The number of a name, new or known.
    pub fn id(&mut self, text: &str) -> NameId {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = NameId(self.texts.len() as u32);
        let text: Rc<str> = text.into();
        self.texts.push(text.clone());
        self.ids.insert(text, id);
        id
    }

    /// The name itself.
    pub fn text(&self, id: NameId) -> &Rc<str> {
        &self.texts[id.0 as usize]
    }

    /// Sorts by the names' text and drops repetitions.
    pub fn sorted(&self, mut ids: Vec<NameId>) -> Rc<[NameId]> {
        ids.sort_by(|a, b| self.text(*a).cmp(self.text(*b)));
        ids.dedup();
        ids.into()
    }

    /// The texts, as owned strings.
    pub fn texts(&self, ids: &[NameId]) -> Vec<String> {
        ids.iter().map(|id| self.text(*id).to_string()).collect()
    }
}

/// Finds texts in a list that keeps them, by their hashes, so that none is kept twice.
#[derive(Debug, Default)]
pub(super) struct Places(FxHashMap<u64, usize>);

impl Places {
    /// The place of a text among those that `text_at` gives, or the slot for [`Places::put`].
    pub fn find<'t>(&self, text: &str, text_at: impl Fn(usize) -> &'t str) -> Result<usize, u64> {
        let mut hasher = FxHasher::default();
        text.hash(&mut hasher);
        let mut slot = hasher.finish();
        loop {
            match self.0.get(&slot) {
                None => return Err(slot),
                Some(place) if text_at(*place) == text => return Ok(*place),
                // Another text of the same hash.
                Some(_) => slot = slot.wrapping_add(1),
            }
        }
    }

    /// Remembers the place of the text that [`Places::find`] had this slot for.
    pub fn put(&mut self, slot: u64, place: usize) {
        self.0.insert(slot, place);
    }
}
