//! A run's state on disk: variables, the optimizer's memory, the best variables so far, the curve. One safetensors file,
//! replaced atomically, so that a run stopped at any moment goes on with the same bytes.
//!
//! Its numbers lie in TOML: they read back to the last bit, which those of our JSON reader may miss.

use super::curve::Progressed;
use super::error::TrainError;
use super::learner::Variable;
use super::optimizer::{Means, Optimizer};
use crate::checkpoint::Checkpoint;
use crate::formats::store::stream::{TensorSpec, write_tensors};
use crate::formats::{StoreError, store::atomic::write_bytes};
use crate::tensor::{Dtype, WeightSource as _};
use candle_core::{Device, Tensor};
use std::io::ErrorKind;
use std::path::Path;

/// Values of all variables, in their order.
pub(super) type Values = Vec<Vec<f32>>;

/// Everything that the next step depends on.
#[derive(Debug, Clone)]
pub(super) struct RunState {
    pub(super) progressed: Progressed,
    pub(super) optimizer: Optimizer,
    /// Variables at the lowest held-out loss; `None` before the first look, and where nothing is held out.
    pub(super) best: Option<Values>,
}

/// The files of a state: tensors under a number, and the text that names them, replaced last.
const TEXT: &str = "train.toml";

/// Values of `variables` as they are now.
pub(super) fn values_of(variables: &[Variable]) -> Result<Values, TrainError> {
    let values = variables.iter();
    let values = values.map(|variable| variable.var.flatten_all()?.to_vec1::<f32>());
    Ok(values.collect::<Result<_, candle_core::Error>>()?)
}

/// Gives `variables` these values.
pub(super) fn set_values(variables: &[Variable], values: &Values) -> Result<(), TrainError> {
    for (variable, values) in variables.iter().zip(values) {
        let tensor = Tensor::from_slice(values, variable.var.shape(), &Device::Cpu)?;
        variable.var.set(&tensor)?;
    }
    Ok(())
}

/// Stores the state of a run in `folder`.
pub(super) fn save(
    folder: &Path,
    variables: &[Variable],
    state: &RunState,
) -> Result<(), TrainError> {
    let (_, means) = state.optimizer.state();
    let mut parts: Vec<(String, Vec<f32>)> = Vec::new();
    for (place, values) in values_of(variables)?.into_iter().enumerate() {
        parts.push((format!("value.{place}"), values));
    }
    for (place, means) in means.iter().enumerate() {
        parts.push((format!("first.{place}"), means.first.clone()));
        parts.push((format!("second.{place}"), means.second.clone()));
    }
    for (place, values) in state.best.iter().flatten().enumerate() {
        parts.push((format!("best.{place}"), values.clone()));
    }
    parts.retain(|(_, values)| !values.is_empty());
    let spec = |(name, values): &(String, Vec<f32>)| TensorSpec {
        name: name.clone(),
        dtype: Dtype::F32,
        shape: vec![values.len()],
    };
    let specs: Vec<TensorSpec> = parts.iter().map(spec).collect();
    let before = read_text(folder)?;
    let progressed = Progressed {
        saves: before.as_ref().map_or(0, |before| before.saves) + 1,
        ..state.progressed.clone()
    };
    let path = folder.join(tensors_name(progressed.saves));
    write_tensors(&path, &specs, &[], |index, output| {
        let bytes: Vec<u8> = parts[index]
            .1
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let failed = StoreError::io("could not be written", &path);
        output.write_all(&bytes).map_err(failed)
    })?;
    let text = toml::to_string(&progressed)
        .map_err(|error| TrainError::misuse(format!("the run's state has no text: {error}")))?;
    write_bytes(&folder.join(TEXT), text.as_bytes())?;
    if let Some(before) = before {
        // Only space is lost where this fails.
        let _ = std::fs::remove_file(folder.join(tensors_name(before.saves)));
    }
    Ok(())
}

/// The state stored in `folder`, its variables put in place; `None` where none is stored.
pub(super) fn load(
    folder: &Path,
    variables: &[Variable],
    mut optimizer: Optimizer,
) -> Result<Option<RunState>, TrainError> {
    let Some(progressed) = read_text(folder)? else {
        return Ok(None);
    };
    let path = folder.join(tensors_name(progressed.saves));
    let damaged = || damaged(&path);
    let source = Checkpoint::open(&path).map_err(|_| damaged())?;
    let read = |name: String, count: usize| -> Result<Vec<f32>, TrainError> {
        if source.info(&name).is_none() {
            return Ok(Vec::new());
        }
        let values = source.read_f32(&name).map_err(|_| damaged())?;
        if values.len() != count {
            return Err(damaged());
        }
        Ok(values)
    };
    let (mut values, mut means, mut best) = (Vec::new(), Vec::new(), Vec::new());
    for (place, variable) in variables.iter().enumerate() {
        let count = variable.var.elem_count();
        values.push(read(format!("value.{place}"), count)?);
        means.push(Means {
            first: read(format!("first.{place}"), count)?,
            second: read(format!("second.{place}"), count)?,
        });
        best.push(read(format!("best.{place}"), count)?);
    }
    let is_whole = |values: &Values| {
        let mut pairs = values.iter().zip(variables);
        pairs.all(|(values, variable)| values.len() == variable.var.elem_count())
    };
    if !is_whole(&values) {
        return Err(damaged());
    }
    set_values(variables, &values)?;
    optimizer.restore(progressed.optimizer_steps, means);
    let has_best = progressed.best.is_some() && is_whole(&best);
    Ok(Some(RunState {
        progressed,
        optimizer,
        best: has_best.then_some(best),
    }))
}

fn tensors_name(saves: u64) -> String {
    format!("train-{saves:08}.safetensors")
}

/// What is stored; `None` where nothing is.
fn read_text(folder: &Path) -> Result<Option<Progressed>, TrainError> {
    let path = folder.join(TEXT);
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map(Some).map_err(|_| damaged(&path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(_) => Err(damaged(&path)),
    }
}

fn damaged(path: &Path) -> TrainError {
    TrainError::misuse(format!(
        "the stored state of the run is damaged; delete the unfinished run and start anew; {}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::TrainPoint;
    use crate::rng::Rng;
    use crate::train::{Rule, optimizer::Optimizer};
    use candle_core::Var;

    #[test]
    fn every_number_reads_back_to_the_last_bit() {
        let var = Var::from_vec(vec![0.5f32, -0.0], 2, &Device::Cpu).unwrap();
        let variables = [Variable {
            name: "x".to_owned(),
            var,
            decay: false,
            rate: 1.0,
        }];
        let optimizer = Optimizer::new(Rule::Sign, 1);
        let mut rng = Rng::new(5, 0);
        let mut drawn = || rng.normal().exp();
        let points = (0..500).map(|step| TrainPoint {
            loss: Some(drawn()),
            held_out: (step % 3 == 0).then(&mut drawn),
            rate: drawn(),
            ..TrainPoint::before(step)
        });
        let curve: Vec<TrainPoint> = points.collect();
        for pending in [None, Some(TrainPoint::before(7))] {
            let state = RunState {
                progressed: Progressed {
                    step: 500,
                    best: Some((3, drawn())),
                    loss_last: Some(2.2250738585072014e-308),
                    pending,
                    curve: curve.clone(),
                    ..Progressed::default()
                },
                optimizer: optimizer.clone(),
                best: None,
            };
            let folder = tempfile::tempdir().unwrap();
            save(folder.path(), &variables, &state).unwrap();
            let read = load(folder.path(), &variables, optimizer.clone()).unwrap();
            let expected = Progressed {
                saves: 1,
                ..state.progressed
            };
            assert_eq!(read.unwrap().progressed, expected);
        }
    }
}
