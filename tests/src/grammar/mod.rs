//! A seeded grammar of small stories: the text that the sample model learns, calibrates on and is judged by.
//!
//! Each story fixes its cast and objects first and names them again later, so that a model must look back: names and
//! their pronouns, a thing and its colour, a place on the way, numbers that are counted down. Alternatives and rare
//! words are drawn by Zipf's law (the k-th one with weight 1/k), as words of real text are.
//! The same seed gives the same text on every machine. Knows no tokenizer and no model.

mod rules;

use pare_engine::rng::Rng;
use rules::{LEXICON_SYLLABLES, NUMBERS, RULES};
use std::collections::BTreeMap;

/// Stream of what belongs to a name or a rare word.
const NATURE_STREAM: u64 = u64::MAX - 1;

/// Stories of one seed; streams are independent texts.
#[derive(Debug)]
pub struct Storyteller {
    rng: Rng,
    rare_words: Vec<String>,
    names: Vec<String>,
}

impl Storyteller {
    /// Stream `stream` of `seed`. All streams share names and rare words, as books of one language do.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut lexicon = Rng::new(seed, u64::MAX);
        Self {
            rng: Rng::new(seed, stream),
            rare_words: invent_words(&mut lexicon, 400, 3),
            names: invent_words(&mut lexicon, 300, 2),
        }
    }

    /// Stories with a blank line after each, at least `bytes` in all.
    pub fn text(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            text.push_str(&self.story());
            text.push_str("\n\n");
        }
        text
    }

    /// One story, a single line.
    pub fn story(&mut self) -> String {
        let memory = self.memory();
        let mut scenes = vec!["meeting", "treasure", "counting", "talk"];
        for optional in [
            "walk", "weather", "letter", "loss", "feast", "riddle", "market",
        ] {
            if self.rng.below(100) < 45 {
                scenes.push(optional);
            }
        }
        self.rng.shuffle(&mut scenes[2..]);
        let mut sentences = vec![self.expand("opening", &memory)];
        for scene in scenes {
            sentences.push(self.expand(scene, &memory));
        }
        sentences.push(self.expand("ending", &memory));
        sentences.join(" ")
    }

    /// What one story remembers: slot name to words.
    fn memory(&mut self) -> BTreeMap<&'static str, String> {
        let mut memory = BTreeMap::new();
        self.remember_someone(&mut memory, ["hero", "kind", "he", "him", "his"]);
        self.remember_someone(
            &mut memory,
            ["friend", "friend_kind", "fhe", "fhim", "fhis"],
        );
        for slot in [
            "thing",
            "colour",
            "material",
            "container",
            "place",
            "landmark",
            "fruit",
            "mood",
        ] {
            let word = self.draw(slot);
            memory.insert(slot, word);
        }
        memory.insert("stranger", self.name());
        self.remember_word(&mut memory);
        let had = 3 + self.rng.below(9) as usize;
        let gave = 1 + self.rng.below(had as u64 - 1) as usize;
        let fruit = memory["fruit"].clone();
        memory.insert("had", counted(had, &fruit));
        memory.insert("gave", NUMBERS[gave].to_owned());
        memory.insert("left", counted(had - gave, &fruit));
        memory.insert("recital", NUMBERS[1..=had].join(", "));
        memory
    }

    /// Whoever has a name is always the same: kind and pronouns belong to the name, in all stories.
    fn remember_someone(
        &mut self,
        memory: &mut BTreeMap<&'static str, String>,
        slots: [&'static str; 5],
    ) {
        let (index, name) = loop {
            let index = self.zipf(self.names.len());
            let name = capitalized(&self.names[index]);
            if memory.values().all(|other| *other != name) {
                break (index, name);
            }
        };
        let (kind, pronouns) = self.by_nature(index, |nature| {
            let pronouns = match nature.rng.below(2) {
                0 => ["he", "him", "his"],
                _ => ["she", "her", "her"],
            };
            (nature.draw("kind"), pronouns)
        });
        let words = [name, kind].into_iter().chain(pronouns.map(str::to_owned));
        memory.extend(slots.into_iter().zip(words));
    }

    /// A rare word and what it always means.
    fn remember_word(&mut self, memory: &mut BTreeMap<&'static str, String>) {
        let index = self.zipf(self.rare_words.len());
        let meaning = self.by_nature(index, |nature| {
            format!("{} {}", nature.draw("plain"), nature.draw("animal"))
        });
        memory.insert("word", self.rare_words[index].clone());
        memory.insert("meaning", meaning);
    }

    /// Draws from the stream that belongs to `index`, not to the story.
    fn by_nature<T>(&mut self, index: usize, draw: impl FnOnce(&mut Self) -> T) -> T {
        let story = std::mem::replace(&mut self.rng, Rng::new(index as u64, NATURE_STREAM));
        let drawn = draw(self);
        self.rng = story;
        drawn
    }

    fn name(&mut self) -> String {
        let index = self.zipf(self.names.len());
        capitalized(&self.names[index])
    }

    fn rare_word(&mut self) -> String {
        let index = self.zipf(self.rare_words.len());
        self.rare_words[index].clone()
    }

    /// One alternative of a rule, its slots not yet filled.
    fn draw(&mut self, rule: &str) -> String {
        let (_, alternatives) = RULES
            .iter()
            .find(|(name, _)| *name == rule)
            .unwrap_or_else(|| panic!("the grammar has no rule {rule}"));
        alternatives[self.zipf(alternatives.len())].to_owned()
    }

    /// One alternative of a rule with every slot filled: from memory, else by drawing again.
    fn expand(&mut self, rule: &str, memory: &BTreeMap<&'static str, String>) -> String {
        let template = self.draw(rule);
        let mut text = String::new();
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let (slot, after) = after.split_once('}').unwrap_or((after, ""));
            text.push_str(&self.fill(slot, memory));
            rest = after;
        }
        text.push_str(rest);
        text
    }

    /// A slot's words: `a:x` puts the article before, a capital first letter of the slot asks for one of the word.
    fn fill(&mut self, slot: &str, memory: &BTreeMap<&'static str, String>) -> String {
        if let Some(inner) = slot.strip_prefix("a:") {
            let word = self.fill(inner, memory);
            let article = article(&word);
            return format!("{article} {word}");
        }
        let lower = slot.to_lowercase();
        let words = match (memory.get(lower.as_str()), lower.as_str()) {
            (Some(words), _) => words.clone(),
            (None, "rare") => self.rare_word(),
            (None, _) => self.expand(&lower, memory),
        };
        if lower == slot {
            words
        } else {
            capitalized(&words)
        }
    }

    /// An index below `count`: index k with weight 1 / (k + 1).
    fn zipf(&mut self, count: usize) -> usize {
        let total: f64 = (1..=count).map(|rank| 1.0 / rank as f64).sum();
        let mut left = self.rng.uniform() * total;
        for rank in 1..=count {
            left -= 1.0 / rank as f64;
            if left < 0.0 {
                return rank - 1;
            }
        }
        count - 1
    }
}

/// `count` different words of 2 to `most_syllables` syllables.
fn invent_words(rng: &mut Rng, count: usize, most_syllables: u64) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    while words.len() < count {
        let syllables = 2 + rng.below(most_syllables - 1);
        let word: String = (0..syllables)
            .map(|_| LEXICON_SYLLABLES[rng.below(LEXICON_SYLLABLES.len() as u64) as usize])
            .collect();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// `an` before a vowel that is heard.
fn article(word: &str) -> &'static str {
    let silent = ["honest", "hourglass"].contains(&word);
    if silent || word.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

/// `three apples`, `one apple`.
fn counted(count: usize, plural: &str) -> String {
    let noun = if count == 1 {
        plural.strip_suffix('s').unwrap_or(plural)
    } else {
        plural
    };
    format!("{} {noun}", NUMBERS[count])
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_of_every_rule_is_known() {
        let mut teller = Storyteller::new(0, 0);
        let memory = teller.memory();
        for (rule, alternatives) in RULES {
            for template in *alternatives {
                for piece in template.split('{').skip(1) {
                    let slot = piece.split('}').next().unwrap_or_default();
                    let name = slot.trim_start_matches("a:").to_lowercase();
                    let known = name == "rare"
                        || memory.contains_key(name.as_str())
                        || RULES.iter().any(|(other, _)| *other == name);
                    assert!(known, "rule {rule} has the unknown slot {slot}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_tells_the_same_and_streams_differ() {
        let text = |seed, stream| Storyteller::new(seed, stream).text(2000);
        assert_eq!(text(1, 1), text(1, 1));
        assert_ne!(text(1, 1), text(1, 2));
        assert_ne!(text(1, 1), text(2, 1));
    }

    #[test]
    fn stories_name_their_hero_and_thing_again() {
        let mut teller = Storyteller::new(3, 0);
        for _ in 0..50 {
            let story = teller.story();
            assert!(!story.contains(['{', '}', '\n']), "{story}");
            let name = story
                .split("named ")
                .nth(1)
                .and_then(|rest| rest.split([' ', '.', ',']).next())
                .unwrap_or_default();
            assert!(story.matches(name).count() >= 3, "{name} in: {story}");
        }
    }

    #[test]
    fn articles_and_counts_agree() {
        assert_eq!(["owl", "honest", "house"].map(article), ["an", "an", "a"]);
        assert_eq!(counted(1, "apples"), "one apple");
        assert_eq!(counted(4, "apples"), "four apples");
    }
}
