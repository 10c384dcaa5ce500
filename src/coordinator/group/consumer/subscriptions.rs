//! What a group's members subscribe to, against the topics that there are: names, and regular expressions in RE2's syntax.
//! `Subscriptions` is what the groups of one partition share: compiled expressions and what they match now, and the
//! hashes of topics. All of it can be computed again; it follows the version of the image.
//!
//! Names are matched in slices, a bounded number a step, for a member may bring any expression and there may be any number
//! of topics: `resolve` gives nothing until its walk over the names is through.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::group::ConsumerGroup;
use super::hash::{group_hash, topic_hash};
use super::member::Member;
use super::re2;
use crate::coordinator::group::assignor::TopicSet;
use crate::coordinator::group::records::{BATCH_BYTES, ConsumerRegexValue, RECORD_BYTES};
use crate::coordinator::group::topics::Topics;
use crate::limits::{
    GROUP_REGEX_NAME_BYTES_AT_ONCE, GROUP_REGEX_NESTING, GROUP_REGEX_PROGRAM_BYTES,
    GROUP_REGEX_SMALL_BYTES, GROUP_REGEXES_COMPILED,
};
use crate::types::TopicId;

/// What a regular expression matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub topics: Arc<BTreeSet<Arc<str>>>,
    /// Of the image.
    pub version: i64,
    pub at_ms: i64,
}

impl Resolved {
    pub fn from_record(value: &ConsumerRegexValue) -> Resolved {
        Resolved {
            topics: Arc::new(value.topics.iter().cloned().collect()),
            version: value.version,
            at_ms: value.at_ms,
        }
    }

    /// What its record takes in a batch at most, beside the names in its key.
    pub fn record_bytes(&self) -> usize {
        BATCH_BYTES + RECORD_BYTES + self.topics.iter().map(|topic| topic.len() + 5).sum::<usize>()
    }

    pub fn to_record(&self) -> ConsumerRegexValue {
        ConsumerRegexValue {
            topics: self.topics.iter().cloned().collect(),
            version: self.version,
            at_ms: self.at_ms,
        }
    }
}

/// Shared by the groups of one partition.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// In the order of their last use, the newest at the end.
    compiled: Vec<Compiled>,
    /// Hashes of topics in the image of this version.
    hashes: HashMap<Arc<str>, Option<i64>>,
    hashes_version: Option<i64>,
    /// Of the newest image that had a topic which was not there before.
    pub(super) new_topics_version: i64,
    /// What this step has spent on matching.
    spent: usize,
}

#[derive(Debug)]
struct Compiled {
    pattern: Arc<str>,
    regex: regex::Regex,
    /// What a byte of a name costs at most, beside one of a small program.
    weight: usize,
    /// Matched against the image of this version.
    matched: Option<(i64, Arc<BTreeSet<Arc<str>>>)>,
    walk: Option<Walk>,
}

/// Through the names, begun in the image of this version: what came later is for the next walk.
#[derive(Debug)]
struct Walk {
    version: i64,
    after: Option<String>,
    matched: BTreeSet<Arc<str>>,
}

impl Compiled {
    fn new(pattern: &str) -> Result<Compiled, String> {
        let translated = re2::translate(pattern)?;
        let build = |bytes_max| {
            regex::RegexBuilder::new(&translated)
                .size_limit(bytes_max)
                .dfa_size_limit(GROUP_REGEX_PROGRAM_BYTES)
                .nest_limit(GROUP_REGEX_NESTING)
                .build()
        };
        // The crate does not say how large a program is: it is built within ever larger bounds.
        let mut bytes_max = GROUP_REGEX_SMALL_BYTES;
        let regex = loop {
            match build(bytes_max) {
                Ok(regex) => break regex,
                Err(regex::Error::CompiledTooBig(_)) if bytes_max < GROUP_REGEX_PROGRAM_BYTES => {
                    bytes_max *= 4;
                }
                Err(regex::Error::CompiledTooBig(_)) => {
                    return Err("expression too large".to_string());
                }
                Err(_) => return Err("invalid character class range".to_string()),
            }
        };
        let weight = bytes_max / GROUP_REGEX_SMALL_BYTES;
        Ok(Compiled { pattern: pattern.into(), regex, weight, matched: None, walk: None })
    }

    /// On through the names as far as this step may go; true when the walk is through.
    fn walk(&mut self, topics: &dyn Topics, spent: &mut usize) -> bool {
        let version = topics.version();
        let begun = || Walk { version, after: None, matched: BTreeSet::new() };
        let Walk { version, after, mut matched } = self.walk.take().unwrap_or_else(begun);
        let mut last = String::new();
        topics.each_name(after.as_deref(), &mut |name| {
            if *spent >= GROUP_REGEX_NAME_BYTES_AT_ONCE {
                return false;
            }
            *spent += (name.len() + 1) * self.weight;
            if self.regex.is_match(name) {
                matched.insert(name.into());
            }
            last.clear();
            last.push_str(name);
            true
        });
        if *spent >= GROUP_REGEX_NAME_BYTES_AT_ONCE {
            let after = if last.is_empty() { after } else { Some(last) };
            self.walk = Some(Walk { version, after, matched });
            return false;
        }
        self.matched = Some((version, Arc::new(matched)));
        true
    }
}

impl Subscriptions {
    /// Topics came or changed: some of them may be new.
    pub fn topics_changed(&mut self, topics: &dyn Topics) {
        self.new_topics_version = topics.version();
    }

    /// Why this pattern can't be subscribed to, in RE2/J's words where it is a matter of syntax.
    pub fn check(&mut self, pattern: &str) -> Result<(), String> {
        self.compile(pattern).map(|_| ())
    }

    fn compile(&mut self, pattern: &str) -> Result<&mut Compiled, String> {
        if let Some(at) = self.compiled.iter().position(|known| &*known.pattern == pattern) {
            let known = self.compiled.remove(at);
            self.compiled.push(known);
        } else {
            let compiled = Compiled::new(pattern)?;
            if self.compiled.len() == GROUP_REGEXES_COMPILED {
                self.compiled.remove(0);
            }
            self.compiled.push(compiled);
        }
        Ok(self.compiled.last_mut().expect("it was just put there"))
    }

    /// A step may match so much again.
    pub fn begin_step(&mut self) {
        self.spent = 0;
    }

    /// The topics that match, or `None` when this step has no more time for it: a later one goes on. A pattern that
    /// another broker took and this one does not matches nothing.
    pub(super) fn resolve(
        &mut self,
        pattern: &str,
        topics: &dyn Topics,
        at_ms: i64,
    ) -> Option<Resolved> {
        let now = topics.version();
        let mut spent = self.spent;
        let (topics, version) = match self.compile(pattern) {
            Err(_) => (Arc::default(), now),
            Ok(compiled) => {
                let is_new = compiled.matched.as_ref().is_some_and(|(at, _)| *at == now);
                let walked = is_new || compiled.walk(topics, &mut spent);
                let matched = compiled.matched.clone().filter(|_| walked);
                self.spent = spent;
                let (version, matched) = matched?;
                (matched, version)
            }
        };
        Some(Resolved { topics, version, at_ms })
    }

    /// Of the topics that the group subscribes to and that exist.
    pub(super) fn hash_of(&mut self, group: &ConsumerGroup, topics: &dyn Topics) -> i64 {
        let version = topics.version();
        if self.hashes_version != Some(version) {
            self.hashes.clear();
            self.hashes_version = Some(version);
        }
        let hash = |name: &Arc<str>| {
            if let Some(known) = self.hashes.get(name) {
                return *known;
            }
            let hash = topics.by_name(name).map(|info| {
                let racks = (0..info.partitions).map(|partition| topics.racks(info.id, partition));
                topic_hash(info.id, name, racks)
            });
            self.hashes.insert(name.clone(), hash);
            hash
        };
        group_hash(group.topics.keys().filter_map(hash))
    }
}

/// Names, and an expression.
type Wanted = (Vec<Arc<str>>, Option<Arc<str>>);

/// The ids of existing topics that members subscribe to, each set once.
pub(super) struct TopicIds<'a> {
    topics: &'a dyn Topics,
    resolved: &'a BTreeMap<Arc<str>, Resolved>,
    /// By names and expression: members of a group mostly want the same.
    known: HashMap<Wanted, TopicSet>,
}

impl<'a> TopicIds<'a> {
    pub fn new(group: &'a ConsumerGroup, topics: &'a dyn Topics) -> TopicIds<'a> {
        TopicIds { topics, resolved: &group.resolved, known: HashMap::new() }
    }

    pub fn of(&mut self, member: &Member) -> TopicSet {
        let names = &member.about.subscribed_topic_names;
        let key = (names.clone(), member.regex().cloned());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let by_regex = member.regex().and_then(|regex| self.resolved.get(regex));
        let matched = by_regex.into_iter().flat_map(|resolved| resolved.topics.iter());
        let id = |name: &Arc<str>| self.topics.by_name(name).map(|info| info.id);
        let ids: BTreeSet<TopicId> = names.iter().chain(matched).filter_map(id).collect();
        let set: TopicSet = Rc::from_iter(ids);
        self.known.insert(key, set.clone());
        set
    }
}

/// Whether one member is subscribed to a topic, without making a set of all.
pub(super) fn is_subscribed(
    group: &ConsumerGroup,
    member: &Member,
    topics: &dyn Topics,
    id: &TopicId,
) -> bool {
    let Some(name) = topics.name_of(*id) else { return false };
    let by_name = |names: &[Arc<str>]| names.binary_search_by(|had| (**had).cmp(name)).is_ok();
    let by_regex = || {
        let resolved = member.regex().and_then(|regex| group.resolved.get(regex));
        resolved.is_some_and(|resolved| resolved.topics.contains(name))
    };
    by_name(&member.about.subscribed_topic_names) || by_regex()
}

/// A set of patterns that nobody subscribes to any more.
pub(super) fn unused(group: &ConsumerGroup) -> Vec<Arc<str>> {
    let used: HashSet<&Arc<str>> = group.regexes.keys().collect();
    group.resolved.keys().filter(|regex| !used.contains(regex)).cloned().collect()
}
