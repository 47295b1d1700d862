//! What a slider waits for: the front of 1,000 items with 20 choices each, and the best choice within one budget; the
//! same through a planner, from a table of 1,000 layers.

use criterion::{Criterion, criterion_group, criterion_main};
use pare_engine::allocate::{Planner, Rules};
use pare_engine::budget::{Choice, Front, solve};
use pare_engine::formats::Format;
use pare_engine::model::{LayerInfo, LayerKind, Role};
use pare_engine::recipe::Recipe;
use pare_engine::report::{LayerSensitivity, Measure, OptionError, Probe, SensitivityTable};
use pare_engine::rng::Rng;
use pare_engine::settings::LayerOption;
use pare_engine::solved::Method;
use pare_engine::tensor::Dtype;
use std::hint::black_box;

/// Items like layers: shapes repeat, bytes rise by bits, losses fall fourfold with each.
fn items(count: usize, choices: usize) -> Vec<Vec<Choice>> {
    let mut rng = Rng::new(0, 0);
    let mut item = |_| {
        let weights = 64 * 64 * (1 + (rng.uniform() * 12.0) as u64);
        let gain = (3.0 * rng.normal()).exp();
        let choice = |choice: usize| Choice {
            bytes: weights * (8 + 3 * choice as u64) / 32,
            loss: gain * 0.5_f64.powi(choice as i32) * (0.9 + 0.2 * rng.uniform()),
        };
        (0..choices).map(choice).collect()
    };
    (0..count).map(&mut item).collect()
}

fn budgets(criterion: &mut Criterion) {
    for (count, choices) in [(112, 19), (1000, 20)] {
        let items = items(count, choices);
        criterion.bench_function(&format!("front of {count} x {choices}"), |bencher| {
            bencher.iter(|| black_box(Front::new(&items).map(|front| front.points().len())));
        });
        let front = Front::new(&items).expect("losses are finite");
        let points = front.points();
        let (first, last) = (points[0].bytes, points[points.len() - 1].bytes);
        for tenth in [1, 5, 9] {
            let budget_bytes = first + (last - first) / 10 * tenth;
            let name = format!("solve {count} x {choices}, budget {tenth}/10");
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| black_box(solve(&front, budget_bytes)));
            });
        }
    }
}

/// Blocks of five layers, three of which are fused.
fn layer(index: usize) -> LayerInfo {
    let (rows, columns) = [
        (1024, 1024),
        (256, 1024),
        (256, 1024),
        (1024, 1024),
        (3072, 1024),
    ][index % 5];
    LayerInfo {
        name: format!("model.layers.{}.part.{}_proj", index / 5, index % 5),
        tensor: format!("model.layers.{}.part.{}_proj.weight", index / 5, index % 5),
        role: Role::Other,
        kind: LayerKind::Linear,
        block: Some(index / 5),
        rows,
        columns,
        shape: vec![rows, columns],
        dtype: Dtype::BF16,
        size_bytes: (2 * rows * columns) as u64,
        parameters: (rows * columns) as u64,
        transposed: false,
        compressible: true,
        packed: false,
        fused_peers: (index % 5 < 3).then_some(index / 5),
    }
}

fn table(layers: &[LayerInfo]) -> SensitivityTable {
    let mut rng = Rng::new(0, 0);
    let options = LayerOption::all();
    let judge = |(index, info): (usize, &LayerInfo)| {
        let gain = (2.0 * rng.normal()).exp();
        let mut error = |option: &LayerOption| {
            let error = match *option {
                LayerOption::Grid { bits, group } => {
                    gain * 0.25_f64.powi(bits.into()) * (1.0 + group as f64 / 256.0)
                }
                _ => 0.0,
            };
            OptionError {
                output_error: error * (0.9 + 0.2 * rng.uniform()),
                relative_output_error: Some(error.sqrt()),
                gradient_loss: Some(error),
                method: Method::Gptq,
                bytes: 0,
            }
        };
        LayerSensitivity {
            layer: index,
            name: info.name.clone(),
            weights: info.parameters,
            errors: options.iter().map(|option| Some(error(option))).collect(),
            probes: vec![Probe {
                option: options[3],
                loss: gain / 100.0,
            }],
        }
    };
    SensitivityTable {
        measure: Measure::Kl,
        method: Method::Gptq,
        layers: layers.iter().enumerate().map(judge).collect(),
        options: LayerOption::all(),
        anchors: Vec::new(),
        scored: 0,
    }
}

fn planners(criterion: &mut Criterion) {
    let layers: Vec<LayerInfo> = (0..1000).map(layer).collect();
    let table = table(&layers);
    let settings = vec![Recipe::default().default; layers.len()];
    for (word, fused, format) in [
        ("pare", false, Format::Pare),
        ("gptq, fused", true, Format::Gptq),
    ] {
        let rules = Rules {
            fused,
            ..Rules::default()
        };
        let plan = || Planner::new(&table, &layers, &settings, format, &rules);
        criterion.bench_function(&format!("planner of 1000 x 19, {word}"), |bencher| {
            bencher.iter(|| black_box(plan()));
        });
        let planner = plan().expect("all layers are free");
        let front = planner.front();
        let budget_bytes = front[front.len() / 2].bytes + 1000;
        criterion.bench_function(&format!("recipe of 1000 x 19, {word}"), |bencher| {
            bencher.iter(|| black_box(planner.solve(budget_bytes)));
        });
        criterion.bench_function(&format!("uniform of 1000 x 19, {word}"), |bencher| {
            bencher.iter(|| black_box(planner.uniform(budget_bytes)));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = budgets, planners
}
criterion_main!(benches);
