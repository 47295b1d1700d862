//! Options that layers may have: as chips, and as words a person types.

use egui::{Button, Role, Ui, WidgetInfo};
use pare_engine::settings::LayerOption;

/// Chips for bits and for groups; the options chosen now where a chip was clicked. None can leave nothing to choose.
pub(super) fn chips(
    ui: &mut Ui,
    known: &[LayerOption],
    chosen: &[LayerOption],
) -> Option<Vec<LayerOption>> {
    let (bits, groups) = (bits_of(known), groups_of(known));
    let (own_bits, own_groups) = (bits_of(chosen), groups_of(chosen));
    let mut wanted: Option<(Vec<Option<u8>>, Vec<usize>)> = None;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.label("bits");
        for option in bits {
            let text = option.map_or_else(|| "dense".to_owned(), |bits| bits.to_string());
            let name = match option {
                Some(bits) => format!("Allow {bits} bits"),
                None => "Allow dense layers".to_owned(),
            };
            if chip(ui, &text, &name, own_bits.contains(&option)) {
                wanted = Some((toggled(&own_bits, option), own_groups.clone()));
            }
        }
    });
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.label("group");
        for group in groups {
            let name = format!("Allow groups of {group}");
            if chip(ui, &group.to_string(), &name, own_groups.contains(&group)) {
                wanted = Some((own_bits.clone(), toggled(&own_groups, group)));
            }
        }
    });
    let (bits, groups) = wanted?;
    let fits = |option: &&LayerOption| match **option {
        LayerOption::Grid { bits: own, group } => {
            bits.contains(&Some(own)) && groups.contains(&group)
        }
        // Chips speak of bits; what is pruned or factored is written in words.
        LayerOption::Pruned { .. } | LayerOption::LowRank { .. } => chosen.contains(*option),
        LayerOption::Dense => bits.contains(&None),
    };
    let options: Vec<LayerOption> = known.iter().filter(fits).copied().collect();
    (!options.is_empty()).then_some(options)
}

/// A pattern and its options: `*.down_proj = 4,5,6/64`; an arrow or a space may stand between.
pub(super) fn read(
    text: &str,
    known: &[LayerOption],
) -> Result<(String, Vec<LayerOption>), String> {
    let help = "write a pattern and its options, as in *.down_proj = 4,5,6/64";
    let arrows = ["→", "->", "=", " "];
    let parts = arrows.iter().find_map(|arrow| text.split_once(arrow));
    let (pattern, list) = parts.ok_or_else(|| help.to_owned())?;
    let (pattern, list) = (pattern.trim(), list.trim());
    if pattern.is_empty() || list.is_empty() {
        return Err(help.to_owned());
    }
    let mut options = Vec::new();
    for word in list.split([',', ' ']).filter(|word| !word.is_empty()) {
        let meant = meant(word, known);
        if meant.is_empty() {
            return Err(format!(
                "{word:?} was not measured; write bits, or bits/group"
            ));
        }
        options.extend(meant);
    }
    Ok((pattern.to_owned(), options))
}

/// Options as a person would type them: bits alone where all their groups are in.
pub(super) fn words(options: &[LayerOption], known: &[LayerOption]) -> String {
    let mut words: Vec<String> = Vec::new();
    for bits in bits_of(options) {
        let own = |options: &[LayerOption]| -> Vec<LayerOption> {
            let of_bits = options.iter().filter(|option| option.bits() == bits);
            of_bits.copied().collect()
        };
        let (own, all) = (own(options), own(known));
        match bits {
            Some(bits) if own.len() == all.len() => words.push(bits.to_string()),
            _ => words.extend(own.iter().map(ToString::to_string)),
        }
    }
    words.join(",")
}

/// What a word names: all groups of a number of bits, or one option.
fn meant(word: &str, known: &[LayerOption]) -> Vec<LayerOption> {
    let all = known.iter().copied();
    match (word.parse::<u8>(), word.parse::<LayerOption>()) {
        (Ok(bits), _) => all.filter(|option| option.bits() == Some(bits)).collect(),
        (_, Ok(wanted)) => all.filter(|option| *option == wanted).collect(),
        _ => Vec::new(),
    }
}

/// Bits in the order met; `None` is dense.
fn bits_of(options: &[LayerOption]) -> Vec<Option<u8>> {
    distinct(options.iter().map(|option| option.bits()))
}

fn groups_of(options: &[LayerOption]) -> Vec<usize> {
    distinct(options.iter().filter_map(|option| match option {
        LayerOption::Grid { group, .. } => Some(*group),
        _ => None,
    }))
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

fn toggled<T: PartialEq + Clone>(all: &[T], value: T) -> Vec<T> {
    let mut all = all.to_vec();
    match all.iter().position(|other| *other == value) {
        Some(place) => drop(all.remove(place)),
        None => all.push(value),
    }
    all
}

fn chip(ui: &mut Ui, text: &str, name: &str, is_chosen: bool) -> bool {
    let response = ui.add(Button::new(text).small().selected(is_chosen));
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_chosen, name));
    response.on_hover_text(name).clicked()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rules_are_read_as_people_write_them() {
        let known = LayerOption::all();
        for (text, pattern, expected) in [
            ("*.down_proj → 4,5,6/64", "*.down_proj", "4,5,6/64"),
            ("*.down_proj -> 4 5", "*.down_proj", "4,5"),
            ("/layers.0/ = dense", "/layers.0/", "dense"),
            ("*.q_proj 8", "*.q_proj", "8"),
        ] {
            let (found, options) = read(text, &known).unwrap();
            assert_eq!(
                (&found[..], &words(&options, &known)[..]),
                (pattern, expected)
            );
        }
        for text in ["", "*.down_proj", "* → 7", "* → 4/256", "* → four", "→ 4"] {
            assert!(read(text, &known).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_number_of_bits_means_all_its_groups() {
        let known = LayerOption::all();
        let (_, options) = read("* → 4", &known).unwrap();
        let names: Vec<String> = options.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["4/128", "4/64", "4/32"]);
    }
}
