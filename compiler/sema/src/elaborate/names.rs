//! Tensor names as numbers, so that a model of hundreds of tensors is compared and indexed quickly.

use rustc_hash::FxHashMap;
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
