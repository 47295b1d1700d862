//! An adapter beside a frozen student: trained, written as PEFT lays it out, and worked into the weights where asked.

use super::super::evaluate_job::open_runnable;
use super::super::recovery::{Merged, Recovered, requantized};
use super::super::{Session, SessionError};
use super::modes::{Reports, count};
use super::write::verify;
use super::{Measured, Prepared};
use crate::formats::peft::{Peft, PeftConfig, PeftLayer, read_peft, target_words, write_peft};
use crate::formats::{RunFolder, StoreError};
use crate::model::{LayerInfo, LayerKind, Model};
use crate::packed::PackedSource;
use crate::recipe::AdapterSettings;
use crate::report::{Observer, Verified};
use crate::tensor::{Matrix, WeightSource};
use crate::train::adapter::{AdapterConfig, AdapterLayer, AdapterLearner};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Folder of the adapter inside a merged model.
const ADAPTER: &str = "adapter";

impl Session {
    pub(super) fn train_adapter(
        &self,
        prepared: &Prepared<'_>,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<Reports, SessionError> {
        let (student, settings) = (&prepared.student, &prepared.settings.adapter);
        let (teacher, model) = (self.model_on_kernels()?, student.model()?);
        let codes = student
            .has_codes()
            .then(|| student.checkpoint.clone() as Arc<dyn PackedSource>);
        let patterns = settings
            .patterns()
            .map_err(|problem| self.input_problem(&problem))?;
        let targets = |info: &LayerInfo| patterns.iter().any(|pattern| pattern.hits(&info.name));
        let config = AdapterConfig {
            rank: settings.rank,
            alpha: settings.alpha,
            dropout: settings.dropout,
            by_root: settings.rslora,
            seed: prepared.settings.seed,
        };
        let learner = AdapterLearner::new(model, codes, &targets, config)?;
        let own = student.model_on_kernels()?;
        let mut measured = Measured {
            before: student.measure_for(prepared, &own, Some(&teacher), observer)?,
            after: None,
        };
        let outcome = self.with_judge(prepared, observer, |judge| {
            self.train(prepared, &learner, judge, run, observer)
        })?;
        let layers = learner.layers()?;
        let folder = match settings.merge {
            true => run.partial().join(ADAPTER),
            false => run.partial().to_owned(),
        };
        fs::create_dir_all(&folder).map_err(StoreError::io("could not be created", &folder))?;
        let adapter = student.as_peft(&layers, settings)?;
        let mut bytes = write_peft(&adapter, &folder)?;
        let mut verified = reread(&adapter, &folder)?;
        let merged = student.merged(&layers, config.scaling())?;
        let mut written = None;
        let adapted = if settings.merge {
            if student.has_codes() {
                let recovered = student.recovered(&merged, &layers, observer)?;
                let report = student.write_recovered(self.model()?, &recovered, run, observer)?;
                bytes += report.bytes_after;
                verified = report.verified;
                written = Some(report);
            } else {
                let values = |name: &str| match merged.added.contains_key(name) {
                    true => Ok(Some(
                        merged
                            .read_f32(name)
                            .map_err(crate::model::ModelError::from)?,
                    )),
                    false => Ok(None),
                };
                bytes += student.write_trained(&values, run.partial(), observer)?;
                verified = verify(run.partial(), &values)?;
            }
            open_runnable(run.partial())?
        } else {
            student.adapted(merged)?
        };
        measured.after = student.measure_for(prepared, &adapted, Some(&teacher), observer)?;
        let told = (measured, verified, bytes, None);
        let report = self.training_report(prepared, count(&learner), outcome, told)?;
        Ok((report, written))
    }

    /// The adapter as PEFT writes it, with this model as its base.
    fn as_peft(
        &self,
        layers: &[AdapterLayer],
        settings: &AdapterSettings,
    ) -> Result<Peft, SessionError> {
        let model = self.model()?;
        let linear = model
            .layers()
            .iter()
            .filter(|info| info.kind == LayerKind::Linear);
        let all: Vec<&str> = linear.map(|info| info.name.as_str()).collect();
        let adapted: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let mut infos = model.layers().iter();
        let base = self
            .path
            .canonicalize()
            .unwrap_or_else(|_| self.path.clone());
        let layers = layers.iter().map(|layer| PeftLayer {
            name: layer.name.clone(),
            down: layer.down.clone(),
            up: layer.up.clone(),
        });
        Ok(Peft {
            config: PeftConfig {
                base: base.display().to_string(),
                rank: settings.rank,
                alpha: settings.alpha,
                dropout: settings.dropout,
                by_root: settings.rslora,
                targets: target_words(&adapted, &all),
                transposed: infos.any(|info| info.kind == LayerKind::Linear && info.transposed),
                encoder: model.is_encoder(),
            },
            layers: layers.collect(),
        })
    }

    /// This model's weights with the adapter's products added.
    fn merged(&self, layers: &[AdapterLayer], scaling: f64) -> Result<Merged, SessionError> {
        let model = self.model()?;
        let mut added = BTreeMap::new();
        for layer in layers {
            if let Some(info) = model.layers().iter().find(|info| info.name == layer.name) {
                let product = layer.product(scaling);
                let stored = match info.transposed {
                    true => product.transposed(),
                    false => product,
                };
                added.insert(info.tensor.clone(), stored.into_data());
            }
        }
        Ok(Merged {
            source: model.source().clone(),
            added,
        })
    }

    /// The network over merged weights.
    fn adapted(&self, merged: Merged) -> Result<Model, SessionError> {
        let config = self
            .checkpoint
            .config_json()
            .unwrap_or(&serde_json::Value::Null);
        Ok(Model::open(Arc::new(merged), config)?)
    }

    /// Codes for merged weights, where there were codes.
    fn recovered(
        &self,
        merged: &Merged,
        layers: &[AdapterLayer],
        observer: &dyn Observer,
    ) -> Result<Recovered, SessionError> {
        let mut recovered = Recovered::default();
        let infos = self.model()?.layers().iter().enumerate();
        for (index, info) in infos.filter(|(_, info)| merged.added.contains_key(&info.tensor)) {
            debug_assert!(layers.iter().any(|layer| layer.name == info.name));
            let weights: Matrix = info.read(merged)?;
            match PackedSource::solved(self.checkpoint.as_ref(), &info.tensor)? {
                Some((solved, activations)) => {
                    recovered.layers.push(crate::train::scales::TrainedLayer {
                        layer: index,
                        solved: requantized(&info.name, &solved, &weights, observer)?,
                        activations,
                    });
                }
                None => {
                    let values = merged.read_f32(&info.tensor)?;
                    recovered
                        .tensors
                        .push((info.tensor.clone(), info.shape.clone(), values));
                }
            }
        }
        Ok(recovered)
    }
}

/// Reads a written adapter again and compares it.
fn reread(adapter: &Peft, folder: &Path) -> Result<Verified, SessionError> {
    let found = read_peft(folder).map_err(|error| SessionError::Input {
        problem: error.to_string(),
        path: folder.to_owned(),
    })?;
    match found == *adapter {
        true => Ok(Verified {
            tensors: 2 * adapter.layers.len(),
            max_abs_difference: 0.0,
        }),
        false => Err(StoreError::Differs {
            tensor: "of the adapter".to_owned(),
            problem: "has other values".to_owned(),
            path: folder.to_owned(),
        }
        .into()),
    }
}
