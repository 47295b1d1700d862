//! Gradients against finite differences: of each composed block with respect to its input and every one of its
//! tensors, and of the ends.

use super::memory::Memory;
use super::shapes::{random_model, shapes, some_ids, values};
use crate::model::{Context, Model, ModelError, Provider};
use crate::rng::Rng;
use candle_core::{Device, Tensor, Var};
use std::cell::RefCell;
use std::collections::BTreeMap;

const TOKENS: usize = 6;
/// Small enough for curvature, large enough for f32.
const STEP: f32 = 2e-3;

/// A provider whose tensors are variables: what a trainer has.
pub(super) struct Variables<'a> {
    memory: &'a Memory,
    pub(super) made: RefCell<BTreeMap<String, Var>>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(memory: &'a Memory) -> Self {
        Self {
            memory,
            made: RefCell::default(),
        }
    }
}

impl Provider for Variables<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let (stored, values) = &self.memory.tensors[name];
        assert_eq!(stored, shape, "{name}");
        let made = &mut *self.made.borrow_mut();
        let entry = made.entry(name.to_owned());
        let variable = entry.or_insert_with(|| variable(values.clone(), shape));
        Ok(variable.as_tensor().clone())
    }
}

pub(super) fn variable(values: Vec<f32>, shape: &[usize]) -> Var {
    Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
}

pub(super) fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 1);
    (0..count).map(|_| rng.normal() as f32).collect()
}

/// Checks `d (output . weights) / d variable` for each variable, along the gradient and a random direction at once.
fn check(label: &str, variables: &BTreeMap<String, Var>, output: &dyn Fn() -> Tensor) {
    let first = output();
    let weights = random(first.elem_count(), 5);
    let weights_tensor = Tensor::from_slice(&weights, first.shape(), &Device::Cpu).unwrap();
    let loss = (first * weights_tensor).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let exact_loss = || -> f64 {
        let pairs = values(&output()).into_iter().zip(&weights);
        pairs
            .map(|(one, &other)| f64::from(one) * f64::from(other))
            .sum()
    };
    for (name, variable) in variables {
        let gradient = gradients
            .get(variable.as_tensor())
            .unwrap_or_else(|| panic!("{label}: {name} has no gradient"));
        let gradient = values(gradient);
        let norm = length(&gradient);
        let noise = random(gradient.len(), 6);
        let noise_norm = length(&noise);
        let direction: Vec<f32> = gradient
            .iter()
            .zip(&noise)
            .map(|(one, other)| one / norm.max(1e-9) + other / noise_norm)
            .collect();
        let expected: f64 = gradient
            .iter()
            .zip(&direction)
            .map(|(&one, &other)| f64::from(one) * f64::from(other))
            .sum();
        let start = values(variable.as_tensor());
        let loss_at = |step: f32| {
            let moved = start
                .iter()
                .zip(&direction)
                .map(|(x, d)| x + step * d)
                .collect();
            set(variable, moved);
            exact_loss()
        };
        let found = (loss_at(STEP) - loss_at(-STEP)) / f64::from(2.0 * STEP);
        set(variable, start.clone());
        let scale = f64::from(norm) + 0.5;
        let error = (found - expected).abs() / scale;
        assert!(
            error <= 5e-3,
            "{label}, {name}: {found} by differences, {expected} by gradient"
        );
    }
}

fn length(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}

fn set(variable: &Var, values: Vec<f32>) {
    let tensor = Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap();
    variable.set(&tensor).unwrap();
}

/// All shapes, relu exchanged: differences across its kink say nothing, and `fused` checks its slope.
fn smooth_shapes() -> Vec<(&'static str, serde_json::Value)> {
    let mut all = shapes();
    for (_, config) in &mut all {
        match config["model_type"].as_str() {
            Some("opt") => config["activation_function"] = "gelu".into(),
            Some("distilbert") => config["activation"] = "gelu".into(),
            _ => {}
        }
    }
    all
}

fn context(model: &Model) -> Context {
    model.context(TOKENS).unwrap()
}

#[test]
fn blocks_of_every_family_pass_gradients_to_their_input_and_every_tensor() {
    for (label, config) in smooth_shapes() {
        let (parsed, weights, model) = random_model(&config);
        let provider = Variables::new(&weights);
        let block = model.build_block(1, &provider).unwrap();
        let mut variables = provider.made.into_inner();
        let hidden = variable(
            random(2 * TOKENS * parsed.hidden, 3),
            &[2, TOKENS, parsed.hidden],
        );
        variables.insert("hidden".to_owned(), hidden.clone());
        let context = context(&model);
        check(label, &variables, &|| {
            block.forward(hidden.as_tensor(), &context, None).unwrap()
        });
    }
}

#[test]
fn ends_of_every_family_pass_gradients_to_every_tensor() {
    for (label, config) in shapes() {
        let (parsed, weights, model) = random_model(&config);
        let provider = Variables::new(&weights);
        let ends = model.build_ends(&provider).unwrap();
        let variables = provider.made.into_inner();
        let ids = some_ids(TOKENS, parsed.vocabulary, 2);
        let context = context(&model);
        check(label, &variables, &|| {
            ends.head(&ends.embed(&ids, &context).unwrap()).unwrap()
        });
    }
}
