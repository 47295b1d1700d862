//! Rust source cut into the few tokens that imports are made of, with their lines.
//!
//! Comments, strings, characters, lifetimes and numbers are passed over. No full lexer: it need only never mistake a
//! string for code, nor code for a string.

/// One token and its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or keyword.
    Word(String),
    /// `::`
    PathSeparator,
    /// Any other character that is no blank.
    Mark(char),
}

/// All tokens of `source`.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        characters: source.chars().collect(),
        at: 0,
        line: 1,
    };
    let mut found = Vec::new();
    while let Some(character) = lexer.peek(0) {
        let line = lexer.line;
        if let Some(kind) = lexer.token(character) {
            found.push(Token { kind, line });
        }
    }
    found
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn advance(&mut self) -> Option<char> {
        let character = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(character == '\n');
        Some(character)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.advance();
        }
    }

    /// Consumes one token, or something that is none.
    fn token(&mut self, first: char) -> Option<Kind> {
        match (first, self.peek(1)) {
            ('/', Some('/')) => self.line_comment(),
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (':', Some(':')) => {
                self.skip(2);
                return Some(Kind::PathSeparator);
            }
            _ if is_word_start(first) => return self.word(),
            _ if first.is_ascii_digit() => {
                self.take_word();
            }
            _ => {
                self.advance();
                return (!first.is_whitespace()).then_some(Kind::Mark(first));
            }
        }
        None
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|character| character != '\n') {
            self.advance();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.skip(2);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.skip(2);
                    if depth == 0 {
                        return;
                    }
                }
                (None, _) => return,
                _ => self.skip(1),
            }
        }
    }

    fn string(&mut self) {
        self.advance();
        while let Some(character) = self.advance() {
            match character {
                '\\' => self.skip(1),
                '"' => return,
                _ => {}
            }
        }
    }

    /// `r"…"`, `r#"…"#`, …: at the first `#` or quote.
    fn raw_string(&mut self) {
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            hashes += 1;
            self.advance();
        }
        self.advance();
        while let Some(character) = self.advance() {
            if character == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                return self.skip(hashes);
            }
        }
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        self.advance();
        if self.peek(0) == Some('\\') {
            self.skip(2);
            while self.advance().is_some_and(|character| character != '\'') {}
        } else if self.peek(1) == Some('\'') {
            self.skip(2);
        } else {
            self.take_word();
        }
    }

    /// An identifier, or the prefix of a string.
    fn word(&mut self) -> Option<Kind> {
        let word = self.take_word();
        let is_prefix = matches!(word.as_str(), "r" | "b" | "br" | "c" | "cr");
        match (self.peek(0), self.peek(1)) {
            (Some('"'), _) if is_prefix && word.contains('r') => self.raw_string(),
            (Some('#'), Some('"' | '#')) if is_prefix && word.contains('r') => self.raw_string(),
            (Some('"'), _) if is_prefix => self.string(),
            (Some('\''), _) if word == "b" => self.quote(),
            (Some('#'), Some(_)) if word == "r" => self.skip(1),
            _ => return Some(Kind::Word(word)),
        }
        None
    }

    fn take_word(&mut self) -> String {
        let mut word = String::new();
        while let Some(character) = self.peek(0).filter(|&character| is_word_part(character)) {
            word.push(character);
            self.advance();
        }
        word
    }
}

fn is_word_start(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

fn is_word_part(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source)
            .into_iter()
            .filter_map(|token| match token.kind {
                Kind::Word(word) => Some(word),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn strings_characters_and_lifetimes_end_where_they_should() {
        for source in [
            r##"a "x \" y" b"##,
            r##"a r"x \" b"##,
            r###"a r#"x " y"# b"###,
            r##"a 'x' b"##,
            r##"a '\'' b"##,
            r##"a '\u{1F600}' b"##,
            r##"a &'x b"##,
            r##"a b'"' b"##,
            r##"a br"x" b"##,
            "a /* x /* y */ z */ b",
            "a // x\n b",
            "a 1e3 b",
        ] {
            assert_eq!(words(source), ["a", "b"], "{source}");
        }
    }

    #[test]
    fn raw_identifiers_are_words_and_lines_are_counted() {
        let found = tokens("r#type\n\"\n\"::x");
        let expected = [
            (Kind::Word("type".to_owned()), 1),
            (Kind::PathSeparator, 3),
            (Kind::Word("x".to_owned()), 3),
        ]
        .map(|(kind, line)| Token { kind, line });
        assert_eq!(found, expected);
    }
}
