//! Reads the rows of docs/features.md: id | what | state | how to try it | test.

/// How far a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As the specification says, and shown by a test.
    Works,
    /// Some of it.
    Partly,
    /// None of it.
    NotYet,
    /// Decided against.
    Refused,
}

impl State {
    /// All, in the order they are counted.
    pub const ALL: [Self; 4] = [Self::Works, Self::Partly, Self::NotYet, Self::Refused];

    /// As written in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Partly => "partly",
            Self::NotYet => "not yet",
            Self::Refused => "refused on purpose",
        }
    }
}

/// One line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Line in the file, from 1.
    pub line: usize,
    /// An id of the specification.
    pub id: String,
    /// How far it is.
    pub state: State,
    /// `path::name` or `cargo xtask …`, none or more.
    pub tests: Vec<String>,
}

/// All rows, and a sentence for every line that is not one.
pub fn parse(text: &str) -> (Vec<Row>, Vec<String>) {
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        let cells = cells(line);
        let is_frame = cells.first().is_some_and(|cell| cell == "id" || cell.starts_with("--"));
        if is_frame {
            continue;
        }
        match parse_row(index + 1, &cells) {
            Ok(row) => rows.push(row),
            Err(why) => problems.push(format!("docs/features.md:{}: {why}", index + 1)),
        }
    }
    (rows, problems)
}

fn parse_row(line: usize, cells: &[String]) -> Result<Row, String> {
    let [id, what, state, _how, tests] = cells else {
        return Err(format!("a row has five cells, this one {}", cells.len()));
    };
    if id.is_empty() || what.is_empty() {
        return Err("a row needs an id and says what it is".to_owned());
    }
    let Some(state) = State::ALL.into_iter().find(|known| known.word() == state) else {
        let words = State::ALL.map(State::word).join(", ");
        return Err(format!("{id}: the state `{state}` is none of: {words}"));
    };
    Ok(Row { line, id: id.clone(), state, tests: parse_tests(tests).map_err(|why| format!("{id}: {why}"))? })
}

/// Code spans (of one or two backticks), separated by commas.
fn parse_tests(cell: &str) -> Result<Vec<String>, String> {
    let mut tests = Vec::new();
    let mut rest = cell;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if rest.is_empty() {
            return Ok(tests);
        }
        let fence = if rest.starts_with("``") { "``" } else { "`" };
        let Some((span, after)) = rest.strip_prefix(fence).and_then(|inner| inner.split_once(fence)) else {
            return Err(format!("tests are written as `path::name` or `cargo xtask …`, not as: {rest}"));
        };
        tests.push(span.trim().to_owned());
        rest = after;
    }
}

/// The cells of a table line; `\|` is a bar within a cell.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|');
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for letter in inner.chars() {
        match letter {
            '|' if !escaped => cells.push(String::new()),
            _ => {
                if let Some(cell) = cells.last_mut() {
                    if letter == '|' {
                        cell.pop();
                    }
                    cell.push(letter);
                }
            }
        }
        escaped = letter == '\\';
    }
    // What stands after the closing bar is no cell.
    cells.pop();
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        let text = "# Features\n\n| id | what | state | how to try it | test |\n|---|---|---|---|---|\n\
            | A01 | three parts | works | `cargo xtask demo` | `a.rs::x`, `cargo xtask demo --once` |\n\
            | A02 | a \\| b | not yet |  |  |\n";
        let (rows, problems) = parse(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            rows,
            [
                Row {
                    line: 5,
                    id: "A01".to_owned(),
                    state: State::Works,
                    tests: vec!["a.rs::x".to_owned(), "cargo xtask demo --once".to_owned()],
                },
                Row { line: 6, id: "A02".to_owned(), state: State::NotYet, tests: vec![] },
            ]
        );
    }

    #[test]
    fn what_is_no_row_is_said() {
        for (line, expected) in [
            ("| A01 | parts | works |  |", "five cells"),
            ("| A01 | parts | done |  |  |", "the state `done`"),
            ("| A01 |  | works |  |  |", "needs an id"),
            ("|  | parts | works |  |  |", "needs an id"),
            ("| A01 | parts | works |  | a.rs::x |", "not as: a.rs::x"),
            ("| A01 | parts | works |  | `a.rs::x |", "not as: `a.rs::x"),
            ("| A01 | parts | works |  | `a.rs::x` and more |", "not as: and more"),
        ] {
            let (rows, problems) = parse(line);
            assert!(rows.is_empty(), "{line}");
            assert!(problems.len() == 1 && problems[0].contains(expected), "{line}: {problems:?}");
        }
    }

    #[test]
    fn tests_are_code_spans() {
        for (cell, expected) in [
            ("", &[][..]),
            ("`a.rs::x`", &["a.rs::x"]),
            ("`a.rs::x`, `b.ts::says, loudly`", &["a.rs::x", "b.ts::says, loudly"]),
            ("`` b.ts::plays `ping` ``", &["b.ts::plays `ping`"]),
        ] {
            assert_eq!(parse_tests(cell).unwrap(), expected, "{cell}");
        }
    }
}
