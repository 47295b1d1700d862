//! Which modules of its own crate a source file names, and where.
//!
//! Finds `crate::a`, `crate::{a, b::c}` and chains of `super` that leave the file's own top module. Knows no floors.

use super::lexer::{Kind, Token, tokens};

/// A top-level module of the crate, named at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// First part of the path after `crate`; `*` for a glob.
    pub module: String,
    /// Line, counted from 1.
    pub line: usize,
}

/// Every mention of a top-level module in `source`, which is the file of module `path`.
pub fn imports(path: &[String], source: &str) -> Vec<Import> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut inline = InlineModules::default();
    let mut at = 0;
    while at < tokens.len() {
        inline.observe(&tokens, at);
        let root = match &tokens[at].kind {
            Kind::Word(word) if word == "crate" => Some(at + 1),
            Kind::Word(word) if word == "super" => {
                let (steps, end) = chain_of_super(&tokens, at);
                let reaches_root = steps >= path.len() + inline.depth();
                at = end - 1;
                reaches_root.then_some(end)
            }
            _ => None,
        };
        if let Some(after_root) = root
            && is_separator(&tokens, after_root)
        {
            first_parts(&tokens, after_root + 1, &mut found);
        }
        at += 1;
    }
    found
}

/// Names that `source` declares as `mod name;` at its top.
pub fn declared_modules(source: &str) -> Vec<String> {
    tokens(source)
        .windows(3)
        .filter_map(|window| match window {
            [keyword, name, end] if is_word(keyword, "mod") && is_mark(end, ';') => word(name),
            _ => None,
        })
        .collect()
}

/// How many `mod x { … }` surround the current token.
#[derive(Default)]
struct InlineModules {
    /// One entry for each open brace: whether it opened a module.
    braces: Vec<bool>,
}

impl InlineModules {
    fn observe(&mut self, tokens: &[Token], at: usize) {
        match tokens[at].kind {
            Kind::Mark('{') => self.braces.push(
                at >= 2 && is_word(&tokens[at - 2], "mod") && word(&tokens[at - 1]).is_some(),
            ),
            Kind::Mark('}') => {
                self.braces.pop();
            }
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        self.braces.iter().filter(|is_module| **is_module).count()
    }
}

/// Length of `super::super::…` at `at`, and the index after its last `super`.
fn chain_of_super(tokens: &[Token], at: usize) -> (usize, usize) {
    let mut steps = 1;
    let mut end = at + 1;
    while is_separator(tokens, end)
        && tokens
            .get(end + 1)
            .is_some_and(|next| is_word(next, "super"))
    {
        steps += 1;
        end += 2;
    }
    (steps, end)
}

/// First parts of the path or of the braced list of paths at `at`.
fn first_parts(tokens: &[Token], at: usize, found: &mut Vec<Import>) {
    let Some(token) = tokens.get(at) else { return };
    if !is_mark(token, '{') {
        found.extend(import(token));
        return;
    }
    let mut depth = 0;
    for index in at..tokens.len() {
        let starts_a_path =
            depth == 1 && (is_mark(&tokens[index - 1], '{') || is_mark(&tokens[index - 1], ','));
        if starts_a_path {
            found.extend(import(&tokens[index]));
        }
        match tokens[index].kind {
            Kind::Mark('{') => depth += 1,
            Kind::Mark('}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn import(token: &Token) -> Option<Import> {
    let module = match &token.kind {
        Kind::Word(word) => word.clone(),
        Kind::Mark('*') => "*".to_owned(),
        _ => return None,
    };
    Some(Import {
        module,
        line: token.line,
    })
}

fn is_separator(tokens: &[Token], at: usize) -> bool {
    tokens
        .get(at)
        .is_some_and(|token| token.kind == Kind::PathSeparator)
}

fn is_word(token: &Token, expected: &str) -> bool {
    matches!(&token.kind, Kind::Word(word) if word == expected)
}

fn is_mark(token: &Token, expected: char) -> bool {
    token.kind == Kind::Mark(expected)
}

fn word(token: &Token) -> Option<String> {
    match &token.kind {
        Kind::Word(word) => Some(word.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(path: &[&str], source: &str) -> Vec<String> {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        imports(&path, source)
            .into_iter()
            .map(|import| import.module)
            .collect()
    }

    #[test]
    fn braced_lists_give_the_first_part_of_each_path() {
        assert_eq!(
            modules(&["x"], "use crate::{a::{b, c}, d, e::f as g};"),
            ["a", "d", "e"]
        );
    }

    #[test]
    fn paths_in_code_and_macros_count() {
        assert_eq!(
            modules(&["x"], "fn f() -> crate::a::B { $crate::c::d!() }"),
            ["a", "c"]
        );
    }

    #[test]
    fn visibility_is_no_import() {
        assert!(modules(&["x"], "pub(crate) fn f() {} pub(in crate) struct S;").is_empty());
    }

    #[test]
    fn super_counts_only_where_it_reaches_the_root() {
        assert_eq!(modules(&["x"], "use super::a;"), ["a"]);
        assert!(modules(&["x"], "mod tests { use super::*; }").is_empty());
        assert!(modules(&["x", "y"], "use super::a;").is_empty());
        assert_eq!(
            modules(&["x"], "mod tests { fn f() {} use super::super::{a, b}; }"),
            ["a", "b"]
        );
    }

    #[test]
    fn declared_modules_are_those_with_a_semicolon() {
        assert_eq!(
            declared_modules("// mod a;\npub mod b;\nmod c;\nmod tests { }"),
            ["b", "c"]
        );
    }
}
