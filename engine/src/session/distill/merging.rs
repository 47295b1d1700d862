//! Adapters between this program and PEFT: the names of layers, and adapters worked into the weights of their base.

use super::super::recovery::{Merged, Recovered, requantized, unmergeable};
use super::super::{Session, SessionError};
use super::write::verify;
use crate::formats::peft::{Peft, PeftConfig, PeftError, PeftLayer, read_peft, target_words};
use crate::formats::{RunFolder, StoreError};
use crate::model::{LayerInfo, LayerKind, ModelError};
use crate::packed::PackedSource;
use crate::recipe::AdapterSettings;
use crate::report::{Observer, Verified};
use crate::tensor::{Matrix, WeightSource as _};
use crate::train::TrainError;
use crate::train::scales::TrainedLayer;
use std::fs;
use std::path::Path;

/// Modules of transformers' encoders that have no place in a network here, and that words for layers must not mean.
const OTHER_MODULES: [&str; 1] = ["pooler.dense"];

impl Session {
    /// Works the adapter in the folder `adapter`, whoever wrote it, into this dense model and writes the result to the
    /// folder `out`, which must hold nothing yet.
    pub fn merge_adapter(
        &self,
        adapter: &Path,
        out: &Path,
        observer: &dyn Observer,
    ) -> Result<Verified, SessionError> {
        if self.has_codes() {
            return Err(self.input_problem(
                "the model holds codes; an adapter is worked into them where it is trained (merge = true)",
            ));
        }
        let problem = |error: PeftError| SessionError::Input {
            problem: error.to_string(),
            path: adapter.to_owned(),
        };
        let peft = read_peft(adapter).map_err(problem)?;
        let merged = Merged::new(
            self.model()?,
            self.own_layers(&peft)?,
            peft.config.scaling(),
        );
        let input = self.checkpoint.root();
        let run = RunFolder::create(out, input, "", &Vec::new(), false)?;
        let written = self.write_merged(&merged, run.partial(), observer)?;
        run.finish("{}", false)?;
        Ok(written.1)
    }

    /// Writes this dense model with what is `merged` into it; gives bytes, and what was reopened.
    pub(super) fn write_merged(
        &self,
        merged: &Merged,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<(u64, Verified), SessionError> {
        let values = |name: &str| match merged.changes(name) {
            true => {
                let values = merged.read_f32(name).map_err(ModelError::from);
                Ok(Some(values.map_err(TrainError::from)?))
            }
            false => Ok(None),
        };
        let bytes = self.write_trained(&values, folder, observer)?;
        Ok((bytes, verify(folder, &values)?))
    }

    /// An error where an adapter on the layers for which `targets` holds could not be worked into them.
    pub(super) fn check_mergeable(
        &self,
        targets: &dyn Fn(&LayerInfo) -> bool,
    ) -> Result<(), SessionError> {
        if !self.has_codes() {
            return Ok(());
        }
        self.own_report()?;
        for info in self.layers.iter().filter(|info| targets(info)) {
            let stored = PackedSource::stored(self.checkpoint.as_ref(), &info.tensor);
            if let Some(reason) = stored.as_ref().and_then(unmergeable) {
                return Err(self.input_problem(&format!(
                    "an adapter cannot be worked into layer {}: {reason}; leave --merge out, or choose other --targets",
                    info.name
                )));
            }
        }
        Ok(())
    }

    /// Codes for merged weights, where there were codes.
    pub(super) fn recovered(
        &self,
        merged: &Merged,
        observer: &dyn Observer,
    ) -> Result<Recovered, SessionError> {
        let mut recovered = Recovered::default();
        let infos = self.model()?.layers().iter().enumerate();
        for (index, info) in infos.filter(|(_, info)| merged.changes(&info.tensor)) {
            observer.check()?;
            match PackedSource::solved(self.checkpoint.as_ref(), &info.tensor)? {
                Some((solved, activations)) => {
                    let weights: Matrix = info.read(merged)?;
                    recovered.layers.push(TrainedLayer {
                        layer: index,
                        solved: requantized(&info.name, &solved, &weights, observer)?,
                        activations,
                    });
                }
                None => {
                    let values = merged.read_f32(&info.tensor)?;
                    let changed = (info.tensor.clone(), info.shape.clone(), values);
                    recovered.tensors.push(changed);
                }
            }
        }
        Ok(recovered)
    }

    /// The adapter as PEFT writes it, with this model as its base: layers are called as in the class of transformers that
    /// its task loads.
    pub(super) fn as_peft(
        &self,
        layers: &[PeftLayer],
        settings: &AdapterSettings,
    ) -> Result<Peft, SessionError> {
        let model = self.model()?;
        let infos = model.layers().iter();
        let module = |layer: &PeftLayer| {
            let mut named = infos.clone().filter(|info| info.name == layer.name);
            let info = named.next();
            info.map_or_else(|| layer.name.clone(), |info| model.module_name(info))
        };
        let mut layers: Vec<PeftLayer> = layers
            .iter()
            .map(|layer| PeftLayer {
                name: module(layer),
                ..layer.clone()
            })
            .collect();
        layers.sort_by(|one, other| one.name.cmp(&other.name));
        let weights = infos.clone().filter(|info| info.shape.len() == 2);
        let mut all: Vec<String> = weights.map(|info| model.module_name(info)).collect();
        if model.is_encoder() {
            all.extend(OTHER_MODULES.map(str::to_owned));
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let adapted: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let base = self.path.canonicalize();
        let base = base.unwrap_or_else(|_| self.path.clone());
        let mut linear = infos.filter(|info| info.kind == LayerKind::Linear);
        Ok(Peft {
            config: PeftConfig {
                base: base.display().to_string(),
                rank: settings.rank,
                alpha: settings.alpha,
                dropout: settings.dropout,
                by_root: settings.rslora,
                targets: target_words(&adapted, &all),
                transposed: linear.any(|info| info.transposed),
                encoder: model.is_encoder(),
            },
            layers,
        })
    }

    /// Why PEFT cannot open this model as an adapter's base; `None` where it can.
    pub(super) fn no_base_for_peft(&self) -> Option<&'static str> {
        if self.has_codes() {
            return Some(
                "the adapter's base holds codes of pare, which PEFT cannot open: train with --merge, or load the adapter beside the dense model that the codes were made of",
            );
        }
        (!self.checkpoint.root().is_dir()).then_some(
            "the adapter's base is a single file, which PEFT cannot open: name a folder of transformers as its base",
        )
    }

    /// The layers of an adapter under the names of this model.
    fn own_layers(&self, peft: &Peft) -> Result<Vec<PeftLayer>, SessionError> {
        let model = self.model()?;
        let own = |layer: &PeftLayer| {
            let info = model.layer_of_module(&layer.name).ok_or_else(|| {
                self.input_problem(&format!(
                    "the adapter is for a layer {}, which the model lacks; name the model that it was trained on",
                    layer.name
                ))
            })?;
            if (layer.up.rows(), layer.down.columns()) != (info.rows, info.columns) {
                return Err(self.input_problem(&format!(
                    "the adapter's layer {} is of {} x {} weights, and the model's of {} x {}; name the model that it was trained on",
                    layer.name,
                    layer.up.rows(),
                    layer.down.columns(),
                    info.rows,
                    info.columns
                )));
            }
            Ok(PeftLayer {
                name: info.name.clone(),
                ..layer.clone()
            })
        };
        peft.layers.iter().map(own).collect()
    }
}

/// Reads a written adapter again and compares it.
pub(super) fn reread(adapter: &Peft, folder: &Path) -> Result<Verified, SessionError> {
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

/// The folder, made where it is not there.
pub(super) fn made(folder: &Path) -> Result<&Path, SessionError> {
    fs::create_dir_all(folder).map_err(StoreError::io("could not be created", folder))?;
    Ok(folder)
}
