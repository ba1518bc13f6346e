//! Takes a TOML text apart, key by key, collecting what is wrong instead of stopping at the first mistake.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::DEFAULT;

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; 0 where something is missing.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// One table of the file, together with the same table of the defaults.
pub(super) struct Section {
    name: String,
    typed: Vec<Entry>,
    defaults: toml::Table,
}

struct Entry {
    key: String,
    line: usize,
    value: Typed,
}

enum Typed {
    Text(String),
    Switch(bool),
    /// `None`: not in the range of any setting.
    Number(Option<u32>),
    /// `None`: not all of them are texts.
    Texts(Option<Vec<String>>),
    Table(Vec<Entry>),
    Other,
}

fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

impl Section {
    /// The top of a file.
    pub(super) fn parse(text: &str) -> (Self, Vec<Problem>) {
        let defaults = DEFAULT.parse::<toml::Table>().unwrap_or_default();
        let (table, errors) = DeTable::parse_recoverable(text);
        let problems = errors
            .iter()
            .map(|error| Problem {
                line: line_at(text, error.span().map_or(0, |span| span.start)),
                message: error.message().to_owned(),
            })
            .collect();
        let typed = entries(table.get_ref(), text);
        (Self { name: String::new(), typed, defaults }, problems)
    }

    /// A table within this one.
    pub(super) fn section(&mut self, key: &str, problems: &mut Vec<Problem>) -> Self {
        let defaults = match self.defaults.get(key) {
            Some(toml::Value::Table(table)) => table.clone(),
            Some(_) | None => toml::Table::new(),
        };
        let typed = match self.take(key) {
            Some(Entry { value: Typed::Table(entries), .. }) => entries,
            Some(entry) => {
                problems.push(Problem {
                    line: entry.line,
                    message: format!("{key} is a section: write [{key}] on a line of its own"),
                });
                Vec::new()
            }
            None => Vec::new(),
        };
        Self { name: key.to_owned(), typed, defaults }
    }

    fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.typed.iter().position(|entry| entry.key == key)?;
        Some(self.typed.swap_remove(at))
    }

    fn named(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// A text that `check` accepts; the default where nothing is typed, and there must be a usable one.
    pub(super) fn text(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> String {
        self.parsed(key, problems, |text| check(text).map(|()| text.to_owned())).unwrap_or_default()
    }

    /// A text that means something else.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        problems: &mut Vec<Problem>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let name = self.named(key);
        let (line, text) = match self.take(key) {
            Some(Entry { value: Typed::Text(text), line, .. }) => (line, text),
            Some(entry) => {
                problems
                    .push(Problem { line: entry.line, message: format!("{name} must be a text in quotation marks") });
                return None;
            }
            // The example's host is nobody's cloud: this one has to be typed.
            None if name == "cloud_url" => {
                problems.push(Problem {
                    line: 0,
                    message: "cloud_url is missing: write the address of your cloud service".to_owned(),
                });
                return None;
            }
            None => (0, self.defaults.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()),
        };
        parse(&text).map_err(|why| problems.push(Problem { line, message: format!("{name}: {why}") })).ok()
    }

    /// A path, absolute or relative to where the program runs.
    pub(super) fn path(&mut self, key: &str, problems: &mut Vec<Problem>) -> PathBuf {
        let present = |text: &str| {
            if text.is_empty() || text.contains('\0') { Err("write a path".to_owned()) } else { Ok(()) }
        };
        PathBuf::from(self.text(key, problems, present))
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u32>, problems: &mut Vec<Problem>) -> u32 {
        let name = self.named(key);
        let default = self.defaults.get(key).and_then(toml::Value::as_integer).and_then(|n| u32::try_from(n).ok());
        let Some(entry) = self.take(key) else { return default.unwrap_or(*range.start()) };
        let number = if let Typed::Number(number) = entry.value { number } else { None };
        match number {
            Some(number) if range.contains(&number) => number,
            Some(_) | None => {
                let message = format!("{name} must be a whole number from {} to {}", range.start(), range.end());
                problems.push(Problem { line: entry.line, message });
                *range.start()
            }
        }
    }

    /// true or false.
    pub(super) fn switch(&mut self, key: &str, problems: &mut Vec<Problem>) -> bool {
        let name = self.named(key);
        match self.take(key) {
            Some(Entry { value: Typed::Switch(on), .. }) => on,
            Some(entry) => {
                problems.push(Problem { line: entry.line, message: format!("{name} must be true or false") });
                false
            }
            None => self.defaults.get(key).and_then(toml::Value::as_bool).unwrap_or(false),
        }
    }

    /// One of a few words.
    pub(super) fn one_of(&mut self, key: &str, words: &[&str], problems: &mut Vec<Problem>) -> String {
        self.text(key, problems, |text| {
            if words.contains(&text) { Ok(()) } else { Err(format!("write one of {}", words.join(", "))) }
        })
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &str, problems: &mut Vec<Problem>) -> Vec<String> {
        let name = self.named(key);
        let Some(entry) = self.take(key) else { return Vec::new() };
        let texts = if let Typed::Texts(texts) = entry.value { texts } else { None };
        texts.unwrap_or_else(|| {
            problems.push(Problem { line: entry.line, message: format!("{name} must be a list of texts") });
            Vec::new()
        })
    }

    /// Complains about everything that nobody asked for.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) {
        for entry in &self.typed {
            let near = self.defaults.keys().find(|known| is_near(known, &entry.key));
            let hint = near.map(|known| format!(", did you mean {known:?}?")).unwrap_or_default();
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            problems.push(Problem { line: entry.line, message: format!("there is no {:?}{place}{hint}", entry.key) });
        }
    }
}

/// One or two letters swapped, missing or too many.
fn is_near(known: &str, typed: &str) -> bool {
    let sorted = |text: &str| {
        let mut letters: Vec<_> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let (a, b) = (sorted(known), sorted(typed));
    let common = a.iter().filter(|letter| b.contains(letter)).count();
    a.len().abs_diff(b.len()) <= 1 && common + 1 >= a.len().max(b.len())
}

/// Copies a table out of the parser's own types, its places turned into line numbers while the text is at hand.
fn entries(table: &DeTable<'_>, text: &str) -> Vec<Entry> {
    table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().clone().into_owned(),
            line: line_at(text, key.span().start),
            value: typed(value.get_ref(), text),
        })
        .collect()
}

fn typed(value: &DeValue<'_>, text: &str) -> Typed {
    match value {
        DeValue::String(text) => Typed::Text(text.clone().into_owned()),
        DeValue::Boolean(on) => Typed::Switch(*on),
        DeValue::Integer(number) => Typed::Number(u32::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Array(items) => {
            Typed::Texts(items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect())
        }
        DeValue::Table(table) => Typed::Table(entries(table, text)),
        DeValue::Float(_) | DeValue::Datetime(_) => Typed::Other,
    }
}
