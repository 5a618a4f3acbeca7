//! Topic patterns as a trie of words, so that a match costs by the words of the key.

use std::collections::{BTreeSet, HashMap};

use super::{
    hash::Seeded,
    targets::{Found, Target, Targets},
};

/// The patterns of one topic exchange.
///
/// A pattern is a path of words from the root; `*` and `#` have places of their own. Runs of
/// wildcards are brought into one shape first (`#.*.#` is `*.#`), so no wildcard follows a `#`.
/// RabbitMQ 4.3.5 refuses patterns with more than two `#`; older ones accept them, and so does
/// this.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    free: Vec<NodeIndex>,
}

type NodeIndex = u32;
const ROOT: NodeIndex = 0;

#[derive(Debug, Default)]
struct Node {
    words: HashMap<Box<[u8]>, NodeIndex, Seeded>,
    star: Option<NodeIndex>,
    hash: Option<NodeIndex>,
    /// Where the patterns lead that end here.
    targets: Targets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    Word(&'a [u8]),
    Star,
    Hash,
}

impl Trie {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new() }
    }

    pub(super) fn add(&mut self, pattern: &[u8], target: Target) {
        let mut node = ROOT;
        for step in steps(pattern) {
            node = match self.child(node, step) {
                Some(child) => child,
                None => self.grow(node, step),
            };
        }
        self.node_mut(node).targets.add(target);
    }

    pub(super) fn remove(&mut self, pattern: &[u8], target: Target) {
        let mut path = Vec::new();
        let mut node = ROOT;
        for step in steps(pattern) {
            let Some(child) = self.child(node, step) else { return };
            path.push((node, step));
            node = child;
        }
        self.node_mut(node).targets.remove(target);
        for (parent, step) in path.into_iter().rev() {
            if !self.node(node).is_bare() {
                return;
            }
            self.prune(parent, step);
            self.free.push(node);
            node = parent;
        }
    }

    /// Finds the targets of every pattern that matches `key`, and says how many steps it took.
    pub(super) fn find(&self, key: &[u8], found: &mut Found<'_>) -> usize {
        let mut search =
            Search { trie: self, found, open: Frontier::default(), is_sweeping: false, steps: 0 };
        search.visit(ROOT, words(key));
        search.is_sweeping = true;
        let mut next = 0;
        while let Some((node, rest)) = search.open.nth(next) {
            search.sweep(node, rest);
            next += 1;
        }
        search.steps
    }

    fn child(&self, node: NodeIndex, step: Step<'_>) -> Option<NodeIndex> {
        let node = self.node(node);
        match step {
            Step::Word(word) => node.words.get(word).copied(),
            Step::Star => node.star,
            Step::Hash => node.hash,
        }
    }

    fn grow(&mut self, parent: NodeIndex, step: Step<'_>) -> NodeIndex {
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            NodeIndex::try_from(self.nodes.len() - 1).expect("fewer than 2^32 words in memory")
        });
        let parent = self.node_mut(parent);
        match step {
            Step::Word(word) => drop(parent.words.insert(word.into(), child)),
            Step::Star => parent.star = Some(child),
            Step::Hash => parent.hash = Some(child),
        }
        child
    }

    fn prune(&mut self, parent: NodeIndex, step: Step<'_>) {
        let parent = self.node_mut(parent);
        match step {
            Step::Word(word) => drop(parent.words.remove(word)),
            Step::Star => parent.star = None,
            Step::Hash => parent.hash = None,
        }
    }

    fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index as usize]
    }

    fn node_mut(&mut self, index: NodeIndex) -> &mut Node {
        &mut self.nodes[index as usize]
    }
}

impl Node {
    fn is_bare(&self) -> bool {
        self.targets.is_empty()
            && self.words.is_empty()
            && self.star.is_none()
            && self.hash.is_none()
    }
}

/// One key's way through the trie. `rest` is what is left of the key: no word at all is not the
/// same as one empty word.
struct Search<'a, 'k, 'f, 'q> {
    trie: &'a Trie,
    found: &'f mut Found<'q>,
    open: Frontier<'k>,
    is_sweeping: bool,
    steps: usize,
}

impl<'k> Search<'_, 'k, '_, '_> {
    /// Goes on from a node that was reached by words and stars; as deep as the longest pattern.
    fn visit(&mut self, index: NodeIndex, rest: Option<&'k [u8]>) {
        self.steps += 1;
        let node = self.trie.node(index);
        if let Some(hash) = node.hash {
            self.reach(hash, rest);
        }
        let Some(rest) = rest else { return self.found.take(&node.targets) };
        let (word, rest) = split_word(rest);
        if !node.words.is_empty()
            && let Some(child) = node.words.get(word)
        {
            self.visit(*child, rest);
        }
        if let Some(star) = node.star {
            self.visit(star, rest);
        }
    }

    /// A `#` matches whatever is left. What follows it in longer patterns may begin at every word
    /// that is left; a second arrival finds a part of what the first one found, since each node is
    /// first reached with the most words left. So each `#` is swept once, and many in one pattern
    /// cost no more than one.
    fn reach(&mut self, hash: NodeIndex, rest: Option<&'k [u8]>) {
        self.steps += 1;
        let node = self.trie.node(hash);
        // Before the first sweep no node is reached twice, and what ends here need not be kept.
        let is_once = !self.is_sweeping && node.words.is_empty();
        if is_once || self.open.insert(hash, rest) {
            self.found.take(&node.targets);
        }
    }

    fn sweep(&mut self, hash: NodeIndex, mut rest: Option<&'k [u8]>) {
        let node = self.trie.node(hash);
        if node.words.is_empty() {
            return;
        }
        while let Some(words) = rest {
            self.steps += 1;
            let (word, after) = split_word(words);
            if let Some(child) = node.words.get(word) {
                self.visit(*child, after);
            }
            rest = after;
        }
    }
}

/// The `#` nodes that were reached, in order, each once; the first few without an allocation.
#[derive(Default)]
struct Frontier<'k> {
    first: [(NodeIndex, Option<&'k [u8]>); FIRST],
    length: usize,
    more: Vec<(NodeIndex, Option<&'k [u8]>)>,
    members: BTreeSet<NodeIndex>,
}

const FIRST: usize = 4;

impl<'k> Frontier<'k> {
    /// Adds a node, unless it is there.
    fn insert(&mut self, node: NodeIndex, rest: Option<&'k [u8]>) -> bool {
        if self.first[..self.length].iter().any(|(present, _)| *present == node) {
            return false;
        }
        if self.length < FIRST {
            self.first[self.length] = (node, rest);
            self.length += 1;
            return true;
        }
        let is_new = self.members.insert(node);
        if is_new {
            self.more.push((node, rest));
        }
        is_new
    }

    fn nth(&self, index: usize) -> Option<(NodeIndex, Option<&'k [u8]>)> {
        match index.checked_sub(FIRST) {
            None => self.first[..self.length].get(index).copied(),
            Some(index) => self.more.get(index).copied(),
        }
    }
}

/// An empty key has no word; any other has one more than it has dots, empty ones included.
fn words(key: &[u8]) -> Option<&[u8]> {
    (!key.is_empty()).then_some(key)
}

#[inline]
fn split_word(words: &[u8]) -> (&[u8], Option<&[u8]>) {
    match words.iter().position(|octet| *octet == b'.') {
        Some(dot) => (&words[..dot], Some(&words[dot + 1..])),
        None => (words, None),
    }
}

/// The pattern's steps, each run of wildcards brought into one shape: its stars, then one hash.
fn steps(pattern: &[u8]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = words(pattern);
    let mut open_hash = false;
    while let Some(words) = rest {
        let (word, after) = split_word(words);
        rest = after;
        match word {
            b"*" => steps.push(Step::Star),
            b"#" => open_hash = true,
            word => {
                steps.extend(open_hash.then_some(Step::Hash));
                open_hash = false;
                steps.push(Step::Word(word));
            }
        }
    }
    steps.extend(open_hash.then_some(Step::Hash));
    steps
}

#[cfg(test)]
mod tests {
    use super::{super::targets::Basis, *};
    use crate::{broker::random::Random, model::QueueId};

    fn trie(patterns: &[&str]) -> Trie {
        let mut trie = Trie::new();
        for (number, pattern) in patterns.iter().enumerate() {
            trie.add(pattern.as_bytes(), Target::Queue(QueueId(number as u64)));
        }
        trie
    }

    fn find(trie: &Trie, key: &str) -> (Vec<u64>, usize) {
        let mut queues = Vec::new();
        let mut found = Found::new(&mut queues, Basis::Address);
        let steps = trie.find(key.as_bytes(), &mut found);
        let mut numbers: Vec<_> = queues.iter().map(|queue| queue.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers, steps)
    }

    /// The rule of the specification, word by word.
    fn matches(pattern: &[&str], words: &[&str]) -> bool {
        match (pattern, words) {
            ([], words) => words.is_empty(),
            (["#", rest @ ..], words) => {
                (0..=words.len()).any(|skip| matches(rest, &words[skip..]))
            }
            (["*", rest @ ..], [_, words @ ..]) => matches(rest, words),
            ([wanted, rest @ ..], [word, words @ ..]) => wanted == word && matches(rest, words),
            (_, []) => false,
        }
    }

    fn split(text: &str) -> Vec<&str> {
        if text.is_empty() { Vec::new() } else { text.split('.').collect() }
    }

    #[test]
    fn a_pattern_matches_what_rabbitmq_says_it_matches() {
        for (pattern, matching, other) in [
            ("#", &["", "a", "a.b", "."][..], &[][..]),
            ("", &[""], &["a", "."]),
            ("*", &["a"], &["", "a.b"]),
            ("*.*", &["a.b", ".", "a.", ".b"], &["a", "", "a.b.c"]),
            ("a.#", &["a", "a.", "a.b.c"], &["b", "", "aa"]),
            ("#.a", &["a", ".a", "x.y.a"], &["a.", "b", ""]),
            ("*.#", &["a", "a.b", "."], &[""]),
            ("#.*", &["a", "a.b", "."], &[""]),
            ("a..b", &["a..b"], &["a.b", "a...b"]),
            ("a*", &["a*"], &["ab", "a"]),
            ("a#", &["a#"], &["ab", "a"]),
            ("#.#.#", &["", "a", "a.b.c.d"], &[]),
            ("#.a.#.b.#", &["a.b", "x.a.y.b.z", "a.a.b.b"], &["b.a", "a", "b"]),
            ("#.a.*", &["a.b", "a.a", "a.a.b"], &["a", "b.b"]),
        ] {
            let trie = trie(&[pattern]);
            for key in matching {
                assert_eq!(find(&trie, key).0, [0], "{pattern:?} should match {key:?}");
            }
            for key in other {
                assert_eq!(find(&trie, key).0, [0; 0], "{pattern:?} should not match {key:?}");
            }
        }
    }

    /// Adds random patterns, asks for random keys while removing some, and removes the rest.
    fn compare_with_the_plain_rule(random: &mut Random) {
        let count = 1 + random.below(40);
        let words = ["a", "b", "", "*", "#", "#"];
        let patterns: Vec<_> = (0..count).map(|_| random.words(&words, 6)).collect();
        let mut trie = trie(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        let mut present = vec![true; count];
        for _ in 0..60 {
            let key = random.words(&["a", "b", "", "c"], 6);
            let expected: Vec<_> = (0..count)
                .filter(|n| present[*n] && matches(&split(&patterns[*n]), &split(&key)))
                .map(|number| number as u64)
                .collect();
            assert_eq!(find(&trie, &key).0, expected, "{key:?}, {patterns:?}");
            let victim = random.below(2 * count);
            if victim < count && std::mem::take(&mut present[victim]) {
                trie.remove(patterns[victim].as_bytes(), Target::Queue(QueueId(victim as u64)));
            }
        }
        for number in (0..count).filter(|number| present[*number]) {
            trie.remove(patterns[number].as_bytes(), Target::Queue(QueueId(number as u64)));
        }
        let left = trie.nodes.len() - trie.free.len();
        assert!(left == 1 && trie.node(ROOT).is_bare(), "{left} nodes left of {patterns:?}");
    }

    #[test]
    fn a_trie_agrees_with_the_plain_rule_on_random_patterns_and_keys() {
        for seed in 1..=300 {
            println!("seed {seed}");
            compare_with_the_plain_rule(&mut Random::new(seed * 0x9e37_79b9));
        }
    }

    #[test]
    fn a_match_costs_by_the_words_of_the_key_and_not_by_the_patterns() {
        let patterns: Vec<_> =
            (0..100_000).map(|n| format!("device.{}.{}.state", n / 300, n % 300)).collect();
        let mut trie = trie(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        let (found, steps) = find(&trie, "device.17.5.state");
        assert_eq!((found, steps), (vec![17 * 300 + 5], 5));
        trie.add(b"#", Target::Queue(QueueId(100_000)));
        trie.add(b"*.*.*.state", Target::Queue(QueueId(100_001)));
        let (found, steps) = find(&trie, "device.17.5.state");
        assert_eq!(found.len(), 3);
        assert!(steps <= 10, "{steps} steps");
    }

    #[test]
    fn many_hashes_in_one_pattern_cost_no_explosion() {
        let trie = trie(&[&"#.a.".repeat(60), "#.a.#.a.#.a.#.a.#.a.#.a.#.b"]);
        let (_, steps) = find(&trie, &vec!["a"; 128].join("."));
        let hashes = 60 + 1;
        assert!(steps < 3 * 128 * hashes, "{steps} steps");
    }
}
