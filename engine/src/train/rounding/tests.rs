//! A block starts where its codes stand, ends better, and repeats itself.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::grid::{GridConfig, ScaleDtype};
use crate::model::testing::{random_model, tiny_bert, tiny_llama};
use crate::model::{LayerKind, Provider};
use crate::monitor::Unwatched;
use crate::solve::{RtnConfig, rtn};
use crate::train::values::constant;
use serde_json::Value;

const TOKENS: usize = 9;

/// Random hidden states, and what the dense block makes of them.
struct Pairs {
    model: Model,
    width: usize,
}

impl BlockPairs for Pairs {
    fn sequences(&self) -> usize {
        16
    }

    fn input(&self, sequence: usize) -> Result<Tensor, TrainError> {
        let mut rng = Rng::new(3, sequence as u64);
        let values = (0..TOKENS * self.width).map(|_| rng.normal() as f32);
        Ok(constant(values.collect(), (1, TOKENS, self.width))?)
    }

    fn target(&self, sequence: usize) -> Result<Tensor, TrainError> {
        let context = self.model.context(TOKENS)?;
        let block = self.model.load_block(0)?;
        Ok(block.forward(&self.input(sequence)?, &context, None)?)
    }
}

/// Dense tensors of a model.
struct Dense(Model);

impl Provider for Dense {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        Ok(constant(self.0.source().read_f32(name)?, shape)?)
    }
}

fn starts(model: &Model, bits: u8, symmetric: bool) -> Vec<StartLayer> {
    let config = RtnConfig {
        grid: GridConfig {
            bits,
            group: 8,
            symmetric,
            scale_dtype: ScaleDtype::F16,
        },
        clip_search: 20,
    };
    let layers = model.layers().iter().enumerate();
    let chosen = layers.filter(|(_, info)| info.block == Some(0) && info.kind == LayerKind::Linear);
    let starts = chosen.map(|(layer, info)| {
        let weights = info.read(model.source().as_ref()).unwrap();
        StartLayer {
            layer,
            tensor: info.tensor.clone(),
            transposed: info.transposed,
            solved: rtn(&weights, None, &config, &Unwatched).unwrap(),
            weights: Some(weights),
        }
    });
    starts.collect()
}

fn round(config: &Value, bits: u8, symmetric: bool, steps: u64) -> (Vec<StartLayer>, RoundedBlock) {
    let model = random_model(config, 5, 0.0);
    let pairs = Pairs {
        width: model.config().hidden,
        model: model.clone(),
    };
    let starts = starts(&model, bits, symmetric);
    let asked = RoundingConfig {
        steps,
        batch: 4,
        ..RoundingConfig::default()
    };
    let rest = Dense(model.clone());
    let rounded = round_block(&model, 0, starts.clone(), &rest, &pairs, asked, &Unwatched);
    (starts, rounded.unwrap())
}

#[test]
fn without_steps_the_start_stands() {
    for symmetric in [false, true] {
        let (starts, rounded) = round(&tiny_llama(), 3, symmetric, 0);
        assert_eq!(rounded.best_step, 0);
        for (start, (layer, solved)) in starts.iter().zip(&rounded.layers) {
            assert_eq!(
                (start.layer, &start.solved),
                (*layer, solved),
                "{}",
                start.tensor
            );
        }
    }
}

#[test]
fn steps_lower_the_error_and_repeat_themselves() {
    for (config, symmetric) in [
        (tiny_llama(), false),
        (tiny_llama(), true),
        (tiny_bert(), false),
    ] {
        let (_, rounded) = round(&config, 2, symmetric, 60);
        let share = rounded.error_after / rounded.error_before;
        assert!(
            share < 0.95,
            "error fell to {share} of {}",
            rounded.error_before
        );
        let (_, again) = round(&config, 2, symmetric, 60);
        assert_eq!(rounded.layers, again.layers);
    }
}

#[test]
fn a_codebook_is_refused_in_words() {
    let model = random_model(&tiny_llama(), 5, 0.0);
    let mut starts = starts(&model, 4, false);
    starts[0].solved.grid = crate::solved::Grid::Nothing;
    let rest = Dense(model.clone());
    let problem = RoundedLayers::new(starts, &rest).err().unwrap().to_string();
    assert!(problem.contains("methods rtn, gptq, awq"), "{problem}");
}
