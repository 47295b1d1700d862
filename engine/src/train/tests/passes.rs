//! Gradients of the block-by-block pass against candle's own over the whole graph, and against finite differences.

use crate::model::testing::{random_model, tiny_bert, tiny_llama};
use crate::model::{Model, ModelError, Provider};
use crate::monitor::Unwatched;
use crate::recipe::StateStorage;
use crate::rng::Rng;
use crate::train::adapter::{AdapterConfig, AdapterLearner};
use crate::train::loss::{Distribution, cross_entropy};
use crate::train::{
    Batch, Dense, Gradients, Learner, Network, Objective, Part, TrainError, Variable,
};
use candle_core::{Tensor, Var};

/// The mean cross entropy of next tokens over a batch.
struct NextToken<'a>(&'a Batch);

impl Objective for NextToken<'_> {
    fn judge(&self, part: Part, outputs: &mut [f32], width: usize) -> Result<f64, TrainError> {
        let sequence = &self.0.sequences()[part.sequence];
        let scored = (self.0.tokens() - self.0.sequences().len()) as f64;
        let mut loss = 0.0;
        for (offset, row) in outputs.chunks_mut(width).enumerate() {
            let mut slope = vec![0.0; width];
            if let Some(&target) = sequence.get(part.start + offset + 1) {
                let own = Distribution::softmax(row, 1.0);
                loss += cross_entropy(&own, target, 1.0 / scored, &mut slope) / scored;
            }
            row.iter_mut()
                .zip(slope)
                .for_each(|(value, slope)| *value = slope as f32);
        }
        Ok(loss)
    }
}

/// The squares of outputs, halved: works for an encoder too.
struct Squares;

impl Objective for Squares {
    fn judge(&self, _part: Part, outputs: &mut [f32], _width: usize) -> Result<f64, TrainError> {
        Ok(outputs
            .iter()
            .map(|&x| f64::from(x) * f64::from(x) / 2.0)
            .sum())
    }

    fn wants_whole_sequences(&self) -> bool {
        true
    }
}

fn batch(lengths: &[usize]) -> Batch {
    let mut rng = Rng::new(9, 0);
    let sequence = |&length: &usize| (0..length).map(|_| rng.below(37) as u32).collect();
    Batch::new(lengths.iter().map(sequence).collect())
}

fn run(
    model: &Model,
    learner: &dyn Learner,
    batch: &Batch,
    objective: &dyn Objective,
) -> (f64, Gradients) {
    let mut gradients = Gradients::new(learner.variables());
    let network = Network::new(model, learner, StateStorage::F32);
    let loss = network
        .gradients(batch, objective, &mut gradients, &Unwatched)
        .unwrap();
    (loss, gradients)
}

/// The same gradients with the whole network as one graph.
fn whole_graph(
    model: &Model,
    learner: &dyn Learner,
    batch: &Batch,
    objective: &dyn Objective,
) -> Vec<Vec<f32>> {
    let ends = model.build_ends(learner.provider()).unwrap();
    let blocks: Vec<_> = (0..model.config().blocks)
        .map(|index| model.build_block(index, learner.provider()).unwrap())
        .collect();
    let mut total: Option<Tensor> = None;
    for (sequence, ids) in batch.sequences().iter().enumerate() {
        let context = model.context(ids.len()).unwrap();
        let context = context.of_sequences(Batch::new(vec![ids.clone()]).numbers(0));
        let mut hidden = ends.embed(ids, &context).unwrap();
        for block in &blocks {
            hidden = block.forward(&hidden, &context, None).unwrap();
        }
        let output = ends.head(&hidden).unwrap();
        let mut values: Vec<f32> = output.flatten_all().unwrap().to_vec1().unwrap();
        let part = Part {
            sequence,
            start: 0,
            count: ids.len(),
        };
        objective
            .judge(part, &mut values, output.dim(2).unwrap())
            .unwrap();
        let toward = Tensor::from_vec(values, output.shape(), output.device()).unwrap();
        let along = (output * toward).unwrap().sum_all().unwrap();
        total = Some(match total {
            Some(total) => (total + along).unwrap(),
            None => along,
        });
    }
    let store = total.unwrap().backward().unwrap();
    let of = |variable: &Variable| match store.get(&variable.var) {
        Some(gradient) => gradient.flatten_all().unwrap().to_vec1().unwrap(),
        None => vec![0.0; variable.var.elem_count()],
    };
    learner.variables().iter().map(of).collect()
}

fn assert_near(label: &str, found: &[f32], expected: &[f32]) {
    let length = |values: &[f32]| {
        values
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let differences: Vec<f32> = found.iter().zip(expected).map(|(x, y)| x - y).collect();
    let (error, size) = (length(&differences), length(expected));
    assert!(
        error <= 1e-5 * size + 5e-5,
        "{label}: differs by {error}, length {size}"
    );
}

#[test]
fn gradients_are_those_of_the_whole_graph() {
    let tied = {
        let mut config = tiny_llama();
        config["tie_word_embeddings"] = true.into();
        config
    };
    for (label, config) in [
        ("llama", tiny_llama()),
        ("tied", tied),
        ("bert", tiny_bert()),
    ] {
        let model = random_model(&config, 3, 0.0);
        let learner = Dense::new(&model).unwrap();
        let batch = batch(&[7, 12, 7, 5]);
        let next = NextToken(&batch);
        let objective: &dyn Objective = match model.is_encoder() {
            true => &Squares,
            false => &next,
        };
        let (_, gradients) = run(&model, &learner, &batch, objective);
        let expected = whole_graph(&model, &learner, &batch, objective);
        for (place, variable) in learner.variables().iter().enumerate() {
            let zeros = vec![0.0; variable.var.elem_count()];
            let found = gradients.values(place).unwrap().unwrap_or(zeros);
            assert_near(
                &format!("{label}, {}", variable.name),
                &found,
                &expected[place],
            );
        }
    }
}

/// Every matrix is `(1 + s) W + s²`: two levels of derivation over one variable for each.
struct Scaled {
    inner: Dense,
    scales: Vec<Variable>,
}

impl Scaled {
    fn new(model: &Model) -> Self {
        let inner = Dense::new(model).unwrap();
        let scale = |variable: &Variable| Variable {
            name: format!("{}.scale", variable.name),
            var: Var::new(0.1f32, &candle_core::Device::Cpu).unwrap(),
            decay: false,
            rate: 1.0,
        };
        Self {
            scales: inner.variables().iter().map(scale).collect(),
            inner,
        }
    }
}

impl Provider for Scaled {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let stored = self.inner.provider().tensor(name, shape)?.detach();
        let named = self
            .scales
            .iter()
            .find(|scale| scale.name == format!("{name}.scale"));
        let scale = named.unwrap().var.as_tensor();
        Ok(stored
            .broadcast_mul(&(scale + 1.0)?)?
            .broadcast_add(&scale.sqr()?)?)
    }
}

impl Learner for Scaled {
    fn variables(&self) -> &[Variable] {
        &self.scales
    }

    fn provider(&self) -> &(dyn Provider + Sync) {
        self
    }

    fn settle(&self, _step: u64) -> Result<(), TrainError> {
        Ok(())
    }
}

#[test]
fn derived_tensors_lead_back_to_their_variables_as_differences_say() {
    let model = random_model(&tiny_llama(), 4, 0.0);
    let learner = Scaled::new(&model);
    let batch = batch(&[9, 9, 6]);
    let objective = NextToken(&batch);
    let (_, gradients) = run(&model, &learner, &batch, &objective);
    let network = Network::new(&model, &learner, StateStorage::F32);
    for (place, variable) in learner.variables().iter().enumerate() {
        let loss_at = |value: f32| {
            variable
                .var
                .set(&Tensor::new(value, variable.var.device()).unwrap())
                .unwrap();
            network.loss(&batch, &objective, &Unwatched).unwrap()
        };
        let expected = (loss_at(0.1 + 4e-3) - loss_at(0.1 - 4e-3)) / 8e-3;
        loss_at(0.1);
        let found = f64::from(gradients.values(place).unwrap().unwrap()[0]);
        assert!(
            (found - expected).abs() < 2e-3 * (1.0 + expected.abs()),
            "{}: gradient {found}, differences {expected}",
            variable.name
        );
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let model = random_model(&tiny_llama(), 5, 0.0);
    let learner = Dense::new(&model).unwrap();
    // Lengths of their own, so that there are many units.
    let batch = batch(&[20, 21, 22, 23, 24, 25, 26, 27]);
    let with_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let (loss, gradients) = run(&model, &learner, &batch, &NextToken(&batch));
            let places = 0..learner.variables().len();
            (
                loss,
                places
                    .map(|place| gradients.values(place).unwrap())
                    .collect::<Vec<_>>(),
            )
        })
    };
    let one = with_threads(1);
    for threads in [2, 3, 8] {
        assert_eq!(with_threads(threads), one, "{threads} threads");
    }
}

#[test]
fn states_rounded_to_bf16_change_gradients_a_little() {
    let model = random_model(&tiny_llama(), 6, 0.0);
    let learner = Dense::new(&model).unwrap();
    let batch = batch(&[16, 16]);
    let (loss, exact) = run(&model, &learner, &batch, &NextToken(&batch));
    let mut rounded = Gradients::new(learner.variables());
    let network = Network::new(&model, &learner, StateStorage::Bf16);
    let objective = NextToken(&batch);
    let same = network
        .gradients(&batch, &objective, &mut rounded, &Unwatched)
        .unwrap();
    assert_eq!(same, loss, "the way forth is not rounded");
    let (exact, rounded) = (exact.norm().unwrap(), rounded.norm().unwrap());
    assert!(
        (exact - rounded).abs() < 0.02 * exact,
        "{rounded}, exactly {exact}"
    );
    assert_ne!(exact, rounded);
}

#[test]
fn what_is_left_out_on_the_way_forth_is_left_out_on_the_way_back() {
    let model = random_model(&tiny_llama(), 7, 0.0);
    let config = AdapterConfig {
        rank: 4,
        alpha: 8.0,
        dropout: 0.4,
        by_root: false,
        seed: 2,
    };
    let learner = AdapterLearner::new(&model, None, &|_| true, config).unwrap();
    for (place, variable) in learner.variables().iter().enumerate() {
        let mut rng = Rng::new(8, place as u64);
        let values: Vec<f32> = (0..variable.var.elem_count())
            .map(|_| 0.2 * rng.normal() as f32)
            .collect();
        let shape = variable.var.shape();
        let values = Tensor::from_vec(values, shape, variable.var.device()).unwrap();
        variable.var.set(&values).unwrap();
    }
    // Sequences of few tokens too, which a plain pass multiplies in another way.
    let batch = batch(&[8, 14, 8, 3]);
    let objective = NextToken(&batch);
    let (loss, exact) = run(&model, &learner, &batch, &objective);
    let network = Network::new(&model, &learner, StateStorage::F32);
    let alone = network.loss(&batch, &objective, &Unwatched).unwrap();
    assert!((loss - alone).abs() < 1e-6, "{loss}, forward alone {alone}");
    learner.rest(true);
    let rested = network.loss(&batch, &objective, &Unwatched).unwrap();
    learner.rest(false);
    assert!((loss - rested).abs() > 1e-4, "something is left out");
    let expected = whole_graph(&model, &learner, &batch, &objective);
    let mut rounded = Gradients::new(learner.variables());
    let network = Network::new(&model, &learner, StateStorage::Bf16);
    network
        .gradients(&batch, &objective, &mut rounded, &Unwatched)
        .unwrap();
    let (mut error, mut size) = (0.0, 0.0);
    for (place, variable) in learner.variables().iter().enumerate() {
        let values = |gradients: &Gradients| gradients.values(place).unwrap().unwrap();
        let (found, near) = (values(&exact), values(&rounded));
        assert_near(&variable.name, &found, &expected[place]);
        for (one, other) in found.iter().zip(near) {
            error += f64::from(one - other).powi(2);
            size += f64::from(*one).powi(2);
        }
    }
    // Other masks would make it another network: errors as large as gradients.
    let share = (error / size).sqrt();
    assert!(share < 0.1, "rounded states move gradients by {share}");
}
