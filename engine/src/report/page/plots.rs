//! Pictures of the layers: their errors, their bytes, their bits, and the front that an allocation found.

use super::axis::{Axis, short};
use super::svg::Chart;
use super::text::{bytes, count, counted, escape, percent};
use super::{RunPage, under};
use crate::report::{Evaluation, LayerReport};
use crate::solved::Method;
use crate::units::Bytes;
use std::collections::BTreeMap;

/// Most roles that get a look of their own; the rest share the last.
const MOST_ROLES: usize = 12;

/// The section.
pub(super) fn section(page: &RunPage) -> String {
    let mut content = String::new();
    if !page.layers.is_empty() {
        let ground = Ground::of(&page.layers);
        content.push_str(&errors(&page.layers, &ground));
        content.push_str(&sizes(&page.layers, &ground));
        content.push_str(&bits(&page.layers));
    }
    content.push_str(&front(page));
    under("Pictures", &content)
}

/// A chart with its caption, which is escaped already.
pub(super) fn figure(heading: &str, chart: &str, caption: &str) -> String {
    format!(
        "<h3>{heading}</h3>\n<figure><div>{chart}</div><figcaption>{caption}</figcaption></figure>\n"
    )
}

/// Where layers stand: blocks from left to right, what lies outside them at the right end; roles as series.
struct Ground {
    blocks: Vec<Option<u64>>,
    roles: Vec<String>,
    /// Of each layer: its place and its role.
    layers: Vec<(usize, usize)>,
}

impl Ground {
    fn of(layers: &[LayerReport]) -> Self {
        let named: Vec<(Option<u64>, &str)> = layers
            .iter()
            .map(|layer| block_and_role(&layer.name))
            .collect();
        let mut blocks: Vec<Option<u64>> = named.iter().map(|(block, _)| *block).collect();
        // None comes last.
        blocks.sort_unstable_by_key(|block| (block.is_none(), *block));
        blocks.dedup();
        let mut roles: Vec<String> = Vec::new();
        let mut placed = Vec::with_capacity(layers.len());
        for (block, role) in named {
            let order = |known: &Option<u64>| (known.is_none(), *known);
            let place = blocks.binary_search_by_key(&order(&block), order);
            let place = place.unwrap_or_else(|nearest| nearest);
            let known = roles.iter().position(|known| known == role);
            let series = known.unwrap_or_else(|| {
                if roles.len() < MOST_ROLES {
                    roles.push(role.to_owned());
                } else {
                    roles[MOST_ROLES - 1] = "others".to_owned();
                }
                roles.len() - 1
            });
            placed.push((place, series));
        }
        Self {
            blocks,
            roles,
            layers: placed,
        }
    }

    fn axis(&self) -> (Axis, &'static str) {
        let text = |place: usize| match self.blocks.get(place).copied().flatten() {
            Some(block) => block.to_string(),
            None => "ends".to_owned(),
        };
        (Axis::places(self.blocks.len(), text), "block")
    }

    /// A little to the side for each role, so that points of one block do not hide each other.
    fn offset(&self, role: usize) -> f64 {
        (role as f64 + 0.5) / self.roles.len().max(1) as f64 * 0.7 - 0.35
    }
}

/// `model.layers.3.mlp.up_proj` is block 3, role `mlp.up_proj`; without a number there is no block.
fn block_and_role(name: &str) -> (Option<u64>, &str) {
    let mut start = 0;
    for part in name.split('.') {
        let end = start + part.len();
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if let (true, Ok(block)) = (is_number, part.parse()) {
            let role = name.get(end + 1..).unwrap_or_default();
            return (Some(block), role);
        }
        start = end + 1;
    }
    (None, name.rsplit('.').next().unwrap_or(name))
}

fn errors(layers: &[LayerReport], ground: &Ground) -> String {
    let heading = "Output error of every layer";
    let error = |layer: &LayerReport| {
        let error = layer.relative_output_error;
        error.filter(|error| *error > 0.0 && error.is_finite())
    };
    let drawn: Vec<f64> = layers.iter().filter_map(error).collect();
    if drawn.is_empty() {
        return format!(
            "<h3>{heading}</h3>\n<p class=\"missing\">Not measured: without calibration inputs there is no output error.</p>\n"
        );
    }
    let low = drawn.iter().copied().fold(f64::INFINITY, f64::min);
    let high = drawn.iter().copied().fold(0.0, f64::max);
    let y = Axis::log(low, high, |value| format!("{} %", short(100.0 * value)));
    let mut chart = Chart::new(heading, ground.axis(), (y, "relative output error"));
    for (layer, &(place, role)) in layers.iter().zip(&ground.layers) {
        if let Some(error) = error(layer) {
            let told = format!("{}: {}", layer.name, percent(error));
            chart.point(role, place as f64 + ground.offset(role), error, &told);
        }
    }
    let mut caption =
        "||X(W-Q)ᵀ|| / ||XWᵀ|| over the calibration inputs, logarithmic; one sign for each role."
            .to_owned();
    let left_out = layers.len() - drawn.len();
    if left_out > 0 {
        caption.push_str(&format!(
            " Not drawn: {} without an error, or without one that was measured.",
            counted(left_out, "layer")
        ));
    }
    figure(heading, &chart.finish(&ground.roles), &caption)
}

fn sizes(layers: &[LayerReport], ground: &Ground) -> String {
    let heading = "Bytes by block and role";
    let mut stacks: Vec<BTreeMap<usize, u64>> = vec![BTreeMap::new(); ground.blocks.len()];
    for (layer, &(place, role)) in layers.iter().zip(&ground.layers) {
        let stored = stacks[place].entry(role).or_default();
        *stored = stored.saturating_add(layer.bytes);
    }
    let height = |stack: &BTreeMap<usize, u64>| stack.values().map(|&stored| stored as f64).sum();
    let high = stacks.iter().map(height).fold(0.0, f64::max);
    let y = Axis::linear(0.0, high, |value| Bytes(value as u64).to_string());
    let mut chart = Chart::new(heading, ground.axis(), (y, "stored bytes"));
    for (place, stack) in stacks.iter().enumerate() {
        let mut from = 0.0;
        for (&role, &stored) in stack {
            let to = from + stored as f64;
            let told = format!("{}: {}", ground.roles[role], bytes(stored));
            chart.bar(role, (place as f64, 0.8), (from, to), &told);
            from = to;
        }
    }
    let caption = "Codes, scales, zeros and padding as they are written; layers left as they were with their own bytes.";
    figure(heading, &chart.finish(&ground.roles), caption)
}

/// Weights at each number of bits; what stays as it is stands apart.
fn bits(layers: &[LayerReport]) -> String {
    let heading = "Weights by bits";
    let mut weights: BTreeMap<(bool, u8), u64> = BTreeMap::new();
    for layer in layers {
        let is_dense = matches!(layer.method, Method::None | Method::Float);
        let sum = weights.entry((is_dense, layer.bits)).or_default();
        *sum = sum.saturating_add(layer.weights);
    }
    let all = weights
        .values()
        .fold(0u64, |sum, &next| sum.saturating_add(next));
    let share = |number: u64| number as f64 / all.max(1) as f64;
    let names: Vec<String> = weights
        .keys()
        .map(|&(is_dense, bits)| match is_dense {
            true => format!("{bits}, floats"),
            false => bits.to_string(),
        })
        .collect();
    let x = Axis::places(names.len(), |place| names[place].clone());
    let high = weights
        .values()
        .map(|&number| share(number))
        .fold(0.0, f64::max);
    let y = Axis::linear(0.0, high, |value| format!("{} %", short(100.0 * value)));
    let mut chart = Chart::new(heading, (x, "bits of a code"), (y, "share of weights"));
    for (place, (&(is_dense, _), &number)) in weights.iter().enumerate() {
        let told = format!(
            "{} bits: {} weights, {}",
            names[place],
            count(number),
            percent(share(number))
        );
        chart.bar(
            if is_dense { 7 } else { 0 },
            (place as f64, 0.6),
            (0.0, share(number)),
            &told,
        );
    }
    let caption = format!("{} weights in all compressible layers.", count(all));
    figure(heading, &chart.finish(&[]), &caption)
}

/// What an allocation found, and where this run stands.
fn front(page: &RunPage) -> String {
    let Some(front) = &page.front else {
        return String::new();
    };
    let points: Vec<(f64, f64)> = front
        .points
        .iter()
        .filter(|(_, loss)| *loss > 0.0 && loss.is_finite())
        .map(|&(size, loss)| (size as f64, loss))
        .collect();
    if points.is_empty() {
        return String::new();
    }
    let own = match (&page.evaluation, page.bytes_after) {
        (Some(Evaluation::Decoder(decoder)), Some(size)) if front.measure == "predicted_kl" => {
            let kl = decoder
                .kl
                .as_ref()
                .map(|kl| kl.mean)
                .filter(|mean| *mean > 0.0);
            kl.map(|mean| (size as f64, mean))
        }
        _ => None,
    };
    let all = points.iter().chain(&own);
    let (mut low, mut high) = ((f64::INFINITY, f64::INFINITY), (0.0f64, 0.0f64));
    for &(size, loss) in all {
        low = (low.0.min(size), low.1.min(loss));
        high = (high.0.max(size), high.1.max(loss));
    }
    let heading = "Size and loss that were possible";
    let x = Axis::linear(low.0, high.0, |value| {
        Bytes(value.max(0.0) as u64).to_string()
    });
    let y = Axis::log(low.1, high.1, short);
    let measure = front.measure.replace('_', " ");
    let mut chart = Chart::new(heading, (x, "bytes of all files"), (y, &measure));
    chart.line(0, &points);
    let mut names = vec![format!("front, {measure}")];
    if let Some((size, loss)) = own {
        chart.point(
            1,
            size,
            loss,
            &format!("this run: {}, KL {}", bytes(size as u64), short(loss)),
        );
        names.push("this run, measured KL".to_owned());
    }
    let caption = escape(
        "The best that the allocation could reach at each size, as predicted; measured on another text than this run, where both are drawn.",
    );
    figure(heading, &chart.finish(&names), &caption)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_roles_are_read_from_names() {
        let cases = [
            ("model.layers.3.mlp.up_proj", (Some(3), "mlp.up_proj")),
            ("h.0.attn.c_attn", (Some(0), "attn.c_attn")),
            ("model.embed_tokens", (None, "embed_tokens")),
            ("lm_head", (None, "lm_head")),
            ("layers.7", (Some(7), "")),
            ("99999999999999999999999.x", (None, "x")),
            ("", (None, "")),
            ("größe.1.ß", (Some(1), "ß")),
        ];
        for (name, expected) in cases {
            assert_eq!(block_and_role(name), expected, "{name:?}");
        }
    }
}
