//! Scenario files and `--set`: TOML whose keys are the long options without their dashes, made into words that
//! stand before those of the command line, so that clap checks them all and the last one wins. `title` and
//! `question` are the scenario's own; each `[[phase]]` is one `--phase`. A wrong key is refused with the nearest
//! right one, a wrong value with its key, each with file and line. Not here: what an option means (`options.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Read;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::options::Options;
use crate::error::StartError;
use crate::loadgen::report::ScenarioInfo;

/// Some hundred times the longest one that makes sense.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Lists of KEY=VALUE: a later layer adds to them (and wins key by key), where it replaces others.
const ADDED_UP: [&str; 2] = ["override", "topic-config"];

/// One option's value and where it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    pub key: String,
    pub value: String,
    /// `perf/x.toml:12`, or `--set`.
    pub place: String,
}

impl Word {
    pub fn option(&self) -> String {
        format!("--{}={}", self.key, self.value)
    }
}

/// The keys that scenario files and `--set` may use, each with whether it is a list.
pub struct Keys(BTreeMap<String, bool>);

impl Keys {
    pub fn of_options() -> Keys {
        let command = Options::augment_args(Command::new("bench"));
        let keys = command.get_arguments().filter_map(|a| {
            let list = matches!(a.get_action(), ArgAction::Append);
            Some((a.get_long()?.to_string(), list))
        });
        Keys(keys.collect())
    }

    fn is_list(&self, key: &str) -> bool {
        self.0.get(key).copied().unwrap_or(false)
    }

    fn known(&self, key: &str, place: &str, own: &[&str]) -> Result<(), StartError> {
        if self.0.contains_key(key) {
            return Ok(());
        }
        let all = self.0.keys().map(String::as_str).chain(own.iter().copied());
        wrong(format!("{place}: {}", unknown("key", key, all)))
    }
}

fn wrong<T>(sentence: String) -> Result<T, StartError> {
    Err(StartError::config(sentence))
}

fn unknown<'a>(what: &str, key: &str, known: impl Iterator<Item = &'a str>) -> String {
    // As it would be written here, so that record_size and max.in.flight find theirs.
    let asked = key.to_lowercase().replace(['_', '.', ' '], "-");
    match known.min_by_key(|k| strsim::damerau_levenshtein(&asked, k)) {
        Some(nearest) => format!("unknown {what} {key}; the nearest known one is {nearest}"),
        None => format!("unknown {what} {key}"),
    }
}

pub struct Scenario {
    pub info: ScenarioInfo,
    pub words: Vec<Word>,
}

impl Scenario {
    pub fn read(path: &Path, keys: &Keys) -> Result<Scenario, StartError> {
        let name = path.display().to_string();
        let mut text = String::new();
        let file = std::fs::File::open(path)
            .map_err(|e| StartError::config(format!("scenario {name}: {e}")))?;
        file.take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|e| StartError::config(format!("scenario {name}: {e}")))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return wrong(format!("scenario {name}: more than {FILE_BYTES_MAX} bytes"));
        }
        Scenario::parse(&name, &text, keys)
    }

    pub fn parse(file: &str, text: &str, keys: &Keys) -> Result<Scenario, StartError> {
        let document = Document { file, text };
        let table = DeTable::parse(text).map_err(|e| {
            let place = e.span().map_or(file.to_string(), |span| document.place(span.start));
            // The parser's own message may have lines; the first says it.
            let message = e.message().lines().next().unwrap_or("no TOML").to_string();
            StartError::config(format!("{place}: {message}"))
        })?;
        let table = table.into_inner();
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let (mut title, mut question, mut words) = (None, None, Vec::new());
        for (key, value) in entries {
            let place = document.place(key.span().start);
            match key.get_ref().as_ref() {
                "title" => title = Some(document.own("title", value)?),
                "question" => question = Some(document.own("question", value)?),
                key => {
                    keys.known(key, &place, &["title", "question"])?;
                    let list = keys.is_list(key);
                    for (at, value) in document.values(key, list, &place, value)? {
                        words.push(Word { key: key.to_string(), value, place: at });
                    }
                }
            }
        }
        for word in &words {
            check(word)?;
        }
        let missing = |key: &str, what: &str| {
            StartError::config(format!("{file}: {key} is missing: a scenario says {what}"))
        };
        let name = title.ok_or_else(|| missing("title", "what it is called"))?;
        let question = question.ok_or_else(|| missing("question", "which question it answers"))?;
        let info = ScenarioInfo { name, question, file: file.to_string() };
        Ok(Scenario { info, words })
    }
}

struct Document<'a> {
    file: &'a str,
    text: &'a str,
}

impl Document<'_> {
    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        format!("{}:{}", self.file, before.matches('\n').count() + 1)
    }

    fn own(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, StartError> {
        match value.get_ref().as_str().map(str::trim) {
            Some(text) if !text.is_empty() => Ok(text.to_string()),
            _ => wrong(format!("{}: {key} is a text", self.place(value.span().start))),
        }
    }

    /// The words of one key, with their places.
    fn values(
        &self,
        key: &str,
        list: bool,
        place: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<(String, String)>, StartError> {
        match value.get_ref() {
            DeValue::Array(items) if list => items
                .iter()
                .map(|item| {
                    let place = self.place(item.span().start);
                    let value = self.one(key, &place, item)?;
                    Ok((place, value))
                })
                .collect(),
            DeValue::Array(_) => wrong(format!("{place}: {key} takes one value, not a list")),
            _ => Ok(vec![(place.to_string(), self.one(key, place, value)?)]),
        }
    }

    fn one(
        &self,
        key: &str,
        place: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<String, StartError> {
        match value.get_ref() {
            DeValue::Table(table) if key == "phase" => self.phase(place, table),
            value => match plain(value) {
                Some(text) => Ok(text),
                None => wrong(format!(
                    "{place}: {key} is a {}; a text, a number or true and false can be its value",
                    value.type_str()
                )),
            },
        }
    }

    /// A `[[phase]]` as `--phase` has it.
    fn phase(&self, place: &str, table: &DeTable<'_>) -> Result<String, StartError> {
        const KEYS: [&str; 4] = ["name", "duration", "rate", "measure"];
        let mut parts = Vec::new();
        for wanted in KEYS {
            let Some((_, value)) = table.iter().find(|(k, _)| k.get_ref() == wanted) else {
                continue;
            };
            let place = self.place(value.span().start);
            match plain(value.get_ref()) {
                Some(text) if !text.contains([',', '=']) => parts.push(format!("{wanted}={text}")),
                _ => {
                    return wrong(format!(
                        "{place}: {wanted} of a phase is a number or a text without , and ="
                    ));
                }
            }
        }
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            if !KEYS.contains(&name) {
                let place = self.place(key.span().start);
                let sentence = unknown("key of a phase", name, KEYS.into_iter());
                return wrong(format!("{place}: {sentence}"));
            }
        }
        match parts.is_empty() {
            true => wrong(format!("{place}: a phase has name, duration, rate and measure")),
            false => Ok(parts.join(",")),
        }
    }
}

fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Some(n.to_string()),
            // Too large for anything: the option's own check says what is right.
            Err(_) => Some(n.as_str().to_string()),
        },
        DeValue::Float(n) => Some(n.as_str().to_string()),
        DeValue::Boolean(b) => Some(b.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// `key=value` of `--set`.
pub fn set(text: &str, keys: &Keys) -> Result<Word, StartError> {
    let Some((key, value)) = text.split_once('=') else {
        return wrong(format!("--set {text}: write it as key=value"));
    };
    let key = key.trim();
    if key == "title" || key == "question" {
        return wrong(format!("--set {text}: {key} is the scenario's own"));
    }
    keys.known(key, &format!("--set {text}"), &[])?;
    let word = Word { key: key.to_string(), value: value.to_string(), place: "--set".to_string() };
    check(&word)?;
    Ok(word)
}

/// By itself; what hangs together with others is checked when all are there.
fn check(word: &Word) -> Result<(), StartError> {
    let command = Options::augment_args(Command::new("bench").no_binary_name(true));
    let Err(e) = command.try_get_matches_from([word.option()]) else { return Ok(()) };
    if matches!(e.kind(), ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument) {
        return Ok(());
    }
    let reason = match e.source() {
        Some(source) => source.to_string(),
        None => sentence(&e),
    };
    wrong(format!("{}: {} = {}: {reason}", word.place, word.key, word.value))
}

/// Of clap's page about an error the line that says what is wrong.
pub fn sentence(e: &clap::Error) -> String {
    let page = e.to_string();
    let first = page.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).trim_end_matches(':').to_string()
}

/// The words that count, in the order of their layers: a key that a later layer names leaves the earlier ones,
/// unless it is a list that adds up. `typed` are the keys of the command line.
pub fn layers(file: Vec<Word>, sets: Vec<Word>, typed: &BTreeSet<String>) -> Vec<Word> {
    let replaced = |word: &Word, by: &BTreeSet<String>| {
        by.contains(&word.key) && !ADDED_UP.contains(&&*word.key)
    };
    let set_keys: BTreeSet<String> = sets.iter().map(|w| w.key.clone()).collect();
    let file = file.into_iter().filter(|w| !replaced(w, &set_keys));
    file.chain(sets).filter(|w| !replaced(w, typed)).collect()
}

/// A sentence that names options, with the places of those that no one typed.
pub fn with_places(sentence: String, words: &[Word]) -> String {
    let name_char = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut places: Vec<String> = Vec::new();
    for (at, _) in sentence.match_indices("--") {
        let rest = &sentence[at + 2..];
        let key = &rest[..rest.find(|c| !name_char(c)).unwrap_or(rest.len())];
        let Some(word) = words.iter().rfind(|w| w.key == key) else { continue };
        let said = format!("{}: {} = {}", word.place, word.key, word.value);
        if !places.contains(&said) {
            places.push(said);
        }
    }
    match places.is_empty() {
        true => sentence,
        false => format!("{sentence} ({})", places.join("; ")),
    }
}
