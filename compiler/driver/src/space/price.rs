//! The range of what the candidates of a space cost.
//!
//! * Where that is little work, each candidate is elaborated.
//! * Else costs are sums of bills that few decisions have a say in (`merge_sema::space::Bill`): candidates are elaborated until every bill
//!   is known for every combination of its decisions, and the range of the sum over all candidates is found by walking the space once
//!   ([`merge_search::space::range`]).
//! * Where that does not do, candidates are drawn: then the range is of those alone, and says so.
//!
//! It does not do where a bill has too many combinations, where the walk has too many ways, where something is made that some candidates do
//! not use, and where the size itself is only a bound. That the sum is what candidates cost is tried on some that are drawn, since two places
//! that make the same node pay once (`merge_sema`'s `elaborate::bills`).
//!
//! Work is counted in nodes, so that a space takes about a second whatever its candidates are, and no clock has a say in what is printed.
//!
//! Not here: costs of one candidate (`merge_ir::tir::costs`).

use super::passes::{Answered, Pass, Passes};
use super::{OpenRecipe, checks, convert};
use merge_ir::tir::Costs;
use merge_search::space::range::{Range, Sum, Told};
use merge_search::{Assignment, Domain as Searched, Rng, Slot, Space, Value};
use merge_sema::space::{Domain, Mention, Price};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// Nodes that are made in all before another way is tried.
const MOST_NODES: usize = 450_000;
/// Nodes that are not worth a better way than to look at each candidate.
const FEW_NODES: usize = 150_000;
/// Of spaces with no more candidates, each is looked at, whatever it takes.
const FEW: usize = 256;
/// Candidates that tell how many nodes one has.
const MEASURED: u32 = 4;
/// Candidates that the sum is tried on, and as many again that are drawn the other way.
const TRIED: u32 = 16;
/// Candidates that are drawn where no more is known, and as many again that are drawn the other way.
const DRAWN: usize = 128;
/// More steps are not taken through a space.
const MOST_STEPS: usize = 1_000_000;

/// What candidates cost at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostRange {
    pub low: Costs,
    pub high: Costs,
    /// Whether `trainable` and `flops` mean something: the recipe makes a network or an adapter.
    pub trains: bool,
    /// The number of candidates that the range is of; none if it is that of all.
    pub looked_at: Option<usize>,
}

impl CostRange {
    /// What some candidates cost; none where nothing does.
    pub(super) fn of(prices: impl IntoIterator<Item = Price>) -> Option<CostRange> {
        let mut found: Option<(Range<4>, bool, usize)> = None;
        for price in prices {
            let own = Range { low: numbers(&price.costs), high: numbers(&price.costs) };
            match &mut found {
                Some((range, trains, count)) => {
                    range.join(&own);
                    *trains |= price.trains;
                    *count += 1;
                }
                None => found = Some((own, price.trains, 1)),
            }
        }
        let (range, trains, count) = found?;
        Some(CostRange { low: costs(range.low), high: costs(range.high), trains, looked_at: Some(count) })
    }

    /// Each cost by its name, least and most.
    pub fn each(&self) -> Vec<(&'static str, u64, u64)> {
        let (low, high) = (&self.low, &self.high);
        let all = [
            ("params", low.params, high.params),
            ("trainable", low.trainable, high.trainable),
            ("bytes", low.bytes, high.bytes),
            ("flops", low.flops, high.flops),
        ];
        let means_something = |name: &str| self.trains || matches!(name, "params" | "bytes");
        all.into_iter().filter(|(name, ..)| means_something(name)).collect()
    }
}

fn numbers(c: &Costs) -> [u64; 4] {
    [c.params, c.trainable, c.bytes, c.flops]
}

pub(super) fn costs([params, trainable, bytes, flops]: [u64; 4]) -> Costs {
    Costs { params, trainable, bytes, flops }
}

impl OpenRecipe {
    /// Makes [`OpenRecipe::costs`] the range of all candidates, or of more of them where that cannot be told. Apart from opening, since a search
    /// has no use for it.
    pub fn price(&mut self) {
        let Some(known) = self.costs else { return };
        let count = usize::try_from(self.space.count()).unwrap_or(usize::MAX);
        let nodes = self.nodes();
        let each = count.saturating_mul(nodes);
        if each <= FEW_NODES && self.price_each(count) {
            return;
        }
        let of_sum = if self.counted && known.trains { self.range_of_sum(MOST_NODES / nodes) } else { None };
        if let Some((Range { low, high }, _)) = of_sum {
            self.costs = Some(CostRange { low: costs(low), high: costs(high), looked_at: None, ..known });
            return;
        }
        if (count <= FEW || each <= MOST_NODES) && self.price_each(count) {
            return;
        }
        let number = (MOST_NODES / 2 / nodes).clamp(8, DRAWN) as u32;
        let drawn = [self.sample(number, 0, true), self.sample(number, 0, false)].concat();
        if let Some(more) = CostRange::of(self.prices(&drawn)) {
            let mut range = Range { low: numbers(&known.low), high: numbers(&known.high) };
            range.join(&Range { low: numbers(&more.low), high: numbers(&more.high) });
            let looked_at = Some(known.looked_at.unwrap_or(0) + more.looked_at.unwrap_or(0));
            self.costs = Some(CostRange { low: costs(range.low), high: costs(range.high), trains: known.trains, looked_at });
        }
    }

    /// How many nodes a candidate has, about.
    fn nodes(&mut self) -> usize {
        let drawn = self.sample(MEASURED, 0, false);
        let nodes: usize = drawn.iter().filter_map(|c| Some(self.elaborate(c).ok()?.graph.len())).sum();
        (nodes / MEASURED as usize).max(1)
    }

    /// Looks at each candidate; false where none of them costs anything.
    fn price_each(&mut self, count: usize) -> bool {
        let all: Vec<Assignment> = (0..count).map_while(|number| self.space.unrank(&number.into())).collect();
        match CostRange::of(self.prices(&all)) {
            Some(range) => self.costs = Some(CostRange { looked_at: None, ..range }),
            None => return false,
        }
        true
    }

    /// What candidates cost; those that a condition excludes cost nothing.
    pub(super) fn prices(&mut self, candidates: &[Assignment]) -> Vec<Price> {
        candidates.iter().filter_map(|c| self.elaborate(c).ok()?.price).collect()
    }

    /// The range of all candidates, and how many it took to find it. None where it cannot be told so with `most`.
    pub(super) fn range_of_sum(&mut self, most: usize) -> Option<(Range<4>, usize)> {
        let first = self.answers(&self.space.defaults().or(self.space.unrank(&0u8.into()))?);
        let mut passes = Passes::new(&mut self.front);
        passes.get(&first);
        // What terms turn out to depend on beyond what they were computed from is tried in every combination too.
        let mut together: BTreeSet<Vec<Rc<str>>> = BTreeSet::new();
        let (terms, count) = loop {
            if !checks::cover_of(&mut passes, &self.space, most, &mut |pass| wanted(pass, &together)) {
                return None;
            }
            let terms = Terms::of(&passes.all(), &self.space, &self.domains)?;
            let known = together.len();
            together.extend(terms.selections.iter().cloned());
            if together.len() == known {
                break (terms, passes.count());
            }
        };
        let range = self.space.range(&terms, MOST_STEPS)?;
        let mut rng = Rng::new(0, "costs");
        for number in 0..2 * TRIED {
            let candidate = if number < TRIED { self.space.sample_leaf(&mut rng) } else { self.space.sample(&mut rng) };
            let answers = convert::answers(&self.space, &candidate, &self.domains);
            let found = self.front.elaborate(&answers, false);
            if found.diagnostics.iter().any(merge_base::Diagnostic::is_error)
                || terms.total(&answers)? != numbers(&found.price?.costs)
            {
                return None;
            }
        }
        Some((range, count))
    }
}

/// What has to be seen of candidates: each term with all answers that it depends on, each place reached and not, each decision with all values,
/// since what costs nothing here may cost something elsewhere, and what was found to go together.
fn wanted(pass: &Pass, together: &BTreeSet<Vec<Rc<str>>>) -> Vec<Mention> {
    let anywhere = |decisions: Vec<u32>| Mention { decisions, reached_by: Vec::new(), place: 0, covered: false, guarded: false };
    let mut all: BTreeSet<Mention> = pass.exploration.bills.iter().map(|bill| bill.mention.clone()).collect();
    for mention in &pass.exploration.mentions {
        all.insert(anywhere(mention.reached_by.clone()));
        all.extend(mention.decisions.iter().map(|d| anywhere(vec![*d])));
    }
    if !together.is_empty() {
        let number: HashMap<&str, u32> = pass.decisions.iter().zip(0..).map(|(d, i)| (d.id.as_str(), i)).collect();
        for ids in together {
            let mut decisions: Vec<u32> = ids.iter().filter_map(|id| number.get(&**id).copied()).collect();
            decisions.sort_unstable();
            all.insert(anywhere(decisions));
        }
    }
    all.into_iter().collect()
}

/// Answers of some decisions by number; none for those that a candidate lacks.
type Answers = Vec<Option<u32>>;

/// Names of decisions.
type Names = BTreeSet<Rc<str>>;

/// What is paid at one place of the text, in one turn and call, by candidates where it depends on these decisions and no others.
struct Part {
    /// Of the scope, the decisions that say how much.
    decisions: Vec<usize>,
    paid: HashMap<Answers, [u64; 4]>,
    /// Of the scope, those that say whether it is paid at all.
    selection: Vec<usize>,
    is_paid: HashMap<Answers, bool>,
}

impl Part {
    fn value(&self, told: &[Option<u32>]) -> Option<[u64; 4]> {
        let of = |places: &[usize]| -> Answers { places.iter().map(|i| told[*i]).collect() };
        if !*self.is_paid.get(&of(&self.selection))? {
            return Some([0; 4]);
        }
        self.paid.get(&of(&self.decisions)).copied()
    }
}

/// A sum of what is paid; parts that the same decisions have a say in are one term.
struct Terms<'a> {
    domains: &'a BTreeMap<String, Domain>,
    space: &'a Space,
    /// The number of each answer's text.
    codes: HashMap<String, u32>,
    scopes: Vec<Vec<Slot>>,
    /// By term: what says whether anything of it is paid.
    selection: Vec<Vec<Slot>>,
    parts: Vec<Vec<Part>>,
    /// Decisions that say together whether something is paid, where its control alone does not.
    selections: BTreeSet<Vec<Rc<str>>>,
    known: RefCell<Vec<HashMap<Answers, Option<[u64; 4]>>>>,
}

/// A place of the text in one turn and call, and what says how much is paid there.
type Key = (u64, Vec<Rc<str>>);

/// What one candidate showed.
struct Seen {
    answers: HashMap<Rc<str>, u32>,
    paid: HashMap<Key, [u64; 4]>,
}

impl Seen {
    fn told<'i>(&self, ids: impl IntoIterator<Item = &'i Rc<str>>) -> Answers {
        ids.into_iter().map(|id| self.answers.get(id).copied()).collect()
    }
}

/// What candidates show together.
#[derive(Default)]
struct Shown {
    seen: Vec<Seen>,
    codes: HashMap<String, u32>,
    names: HashMap<String, Rc<str>>,
    /// By key: what decides whether the place is reached.
    controls: BTreeMap<Key, Names>,
    /// By site: all decisions that have a say there in some candidate.
    sites: HashMap<u64, Names>,
}

impl Shown {
    fn add(&mut self, pass: &Pass) {
        let mut answers = HashMap::new();
        let mut ids: Vec<Rc<str>> = Vec::with_capacity(pass.decisions.len());
        for d in &pass.decisions {
            let id = self.names.entry(d.id.clone()).or_insert_with(|| d.id.as_str().into()).clone();
            let next = self.codes.len() as u32;
            answers.insert(id.clone(), *self.codes.entry(d.domain.text(&d.answer)).or_insert(next));
            ids.push(id);
        }
        let mut paid: HashMap<Key, [u64; 4]> = HashMap::new();
        for bill in &pass.exploration.bills {
            let list = |decisions: &[u32]| decisions.iter().map(|d| ids[*d as usize].clone()).collect::<Names>();
            let key: Key = (bill.site, list(&bill.mention.decisions).into_iter().collect());
            let control = list(&bill.mention.reached_by);
            let of_site = self.sites.entry(bill.site).or_default();
            of_site.extend(key.1.iter().chain(&control).cloned());
            self.controls.entry(key.clone()).or_default().extend(control);
            let sum = paid.entry(key).or_default();
            sum.iter_mut().zip(numbers(&bill.costs)).for_each(|(own, more)| *own = own.saturating_add(more));
        }
        self.seen.push(Seen { answers, paid });
    }

    /// The decisions that tell the candidates in which something is paid from those in which it is not: its control, and as few as do of the
    /// others that have a say there.
    fn selection(&self, key: &Key, control: &Names) -> Option<Names> {
        let mut found = control.clone();
        loop {
            let unclear = self.unclear(key, &found);
            if unclear == 0 {
                return Some(found);
            }
            let more = self.sites.get(&key.0)?.difference(&found);
            let with = |id: &Rc<str>| {
                let mut with = found.clone();
                with.insert(id.clone());
                (self.unclear(key, &with), id.clone())
            };
            let (left, best) = more.map(with).min()?;
            if left >= unclear {
                return None;
            }
            found.insert(best);
        }
    }

    /// Candidates that agree in some decisions with one that is otherwise.
    fn unclear(&self, key: &Key, ids: &Names) -> usize {
        let mut groups: HashMap<Answers, [usize; 2]> = HashMap::new();
        for s in &self.seen {
            groups.entry(s.told(ids)).or_default()[usize::from(s.paid.contains_key(key))] += 1;
        }
        groups.values().filter(|[without, with]| *without > 0 && *with > 0).map(|[without, with]| without + with).sum()
    }
}

impl<'a> Terms<'a> {
    /// The terms that passes show. None where they do not add up to what is paid, so far as that can be seen.
    fn of(passes: &[Rc<Pass>], space: &'a Space, domains: &'a BTreeMap<String, Domain>) -> Option<Terms<'a>> {
        let sound: Vec<&Pass> = passes.iter().map(|p| &**p).filter(|p| p.is_feasible()).collect();
        if sound.iter().any(|p| p.has_errors()) {
            return None;
        }
        let mut shown = Shown::default();
        sound.iter().for_each(|p| shown.add(p));
        let (scopes, selection, parts, selections, known) = Default::default();
        let codes = std::mem::take(&mut shown.codes);
        let mut terms = Terms { domains, space, codes, scopes, selection, parts, selections, known };
        let mut by_scope: HashMap<(Vec<Slot>, Vec<Slot>), usize> = HashMap::new();
        for (key, control) in &shown.controls {
            let selection = shown.selection(key, control)?;
            let decisions: Names = key.1.iter().cloned().collect();
            let ids: Vec<&Rc<str>> = decisions.union(&selection).collect();
            let scope = ids.iter().map(|id| space.slot(id)).collect::<Option<Vec<Slot>>>()?;
            let part = part(key, &decisions, &selection, &ids, &shown.seen)?;
            if selection != *control {
                terms.selections.insert(selection.into_iter().collect());
            }
            let next = terms.scopes.len();
            let selecting = part.selection.iter().map(|i| scope[*i]).collect::<Vec<Slot>>();
            let term = *by_scope.entry((scope.clone(), selecting.clone())).or_insert(next);
            if term == next {
                terms.scopes.push(scope);
                terms.selection.push(selecting);
                terms.parts.push(Vec::new());
            }
            terms.parts[term].push(part);
        }
        terms.known.borrow_mut().resize_with(terms.scopes.len(), HashMap::new);
        Some(terms)
    }

    /// What a candidate costs by these terms.
    fn total(&self, answers: &Answered) -> Option<[u64; 4]> {
        let mut sum = [0u64; 4];
        for (term, scope) in self.scopes.iter().enumerate() {
            let code = |slot: &Slot| {
                let path = self.space.path(*slot);
                Some(self.code_of(&self.domains.get(path)?.text(answers.get(path)?)))
            };
            let value = self.value(term, &scope.iter().map(code).collect::<Answers>())?;
            sum.iter_mut().zip(value).for_each(|(own, more)| *own = own.saturating_add(more));
        }
        Some(sum)
    }

    fn code_of(&self, text: &str) -> u32 {
        self.codes.get(text).copied().unwrap_or(u32::MAX)
    }
}

/// What is known of a part. None where it does not depend on its decisions alone.
fn part(key: &Key, decisions: &Names, selection: &Names, ids: &[&Rc<str>], seen: &[Seen]) -> Option<Part> {
    let places = |own: &Names| own.iter().filter_map(|id| ids.iter().position(|i| *i == id)).collect::<Vec<_>>();
    let (mut paid, mut is_paid) = (HashMap::new(), HashMap::new());
    for s in seen {
        let own = s.paid.get(key);
        is_paid.insert(s.told(selection), own.is_some());
        if let Some(own) = own
            && paid.entry(s.told(decisions)).or_insert(*own) != own
        {
            return None;
        }
    }
    Some(Part { decisions: places(decisions), paid, selection: places(selection), is_paid })
}

impl Sum<4> for Terms<'_> {
    fn scopes(&self) -> &[Vec<Slot>] {
        &self.scopes
    }

    fn selection(&self, term: usize) -> &[Slot] {
        &self.selection[term]
    }

    fn adds_nothing(&self, term: usize, told: &[Told]) -> bool {
        let fits = |answers: &Answers| answers.iter().zip(told).all(|(a, t)| matches!(t, Told::Open) || Told::Is(*a) == *t);
        let nothing = |part: &Part| {
            let mut known = part.is_paid.iter().filter(|(answers, _)| fits(answers)).map(|(_, paid)| *paid).peekable();
            known.peek().is_some() && known.all(|paid| !paid)
        };
        self.parts[term].iter().all(nothing)
    }

    fn code(&self, slot: Slot, domain: &Searched, value: &Value) -> u32 {
        match (domain, value) {
            (Searched::Members { labels, .. }, Value::Member(i)) => self.code_of(&labels[*i as usize]),
            _ => self.domains.get(self.space.path(slot)).map_or(u32::MAX, |own| self.code_of(&own.text(&convert::answer(value)))),
        }
    }

    fn value(&self, term: usize, answers: &[Option<u32>]) -> Option<[u64; 4]> {
        if let Some(known) = self.known.borrow()[term].get(answers) {
            return *known;
        }
        let mut sum = Some([0u64; 4]);
        for part in &self.parts[term] {
            sum = sum.zip(part.value(answers)).map(|(sum, own)| std::array::from_fn(|i| sum[i].saturating_add(own[i])));
        }
        self.known.borrow_mut()[term].insert(answers.to_vec(), sum);
        sum
    }
}
