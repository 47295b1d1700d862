//! What fills a sensitivity table: rounding for all layers first, which is quick; then, where asked, the recipe's own
//! method, and each layer alone in the whole model at some options; last, all layers together.
//!
//! Each layer's row is kept before the next begins.

use super::super::SessionError;
use super::survey::{By, Survey};
use crate::compress::CompressError;
use crate::evaluate::Slice;
use crate::formats::Format;
use crate::model::LayerKind;
use crate::moments::{Moments, StageKey};
use crate::monitor::Silent;
use crate::report::{Anchor, Notice, Observer, Probe};
use crate::sensitivity::{Inputs, Judged, KnownInputs, Subject, output_gains, rounded};
use crate::settings::{LayerSettings, PruneMethod};
use crate::solved::Method;
use crate::tensor::Matrix;
use std::sync::Arc;

/// What judging a layer needs beside the layer.
struct Bench<'a, 'b> {
    slice: Option<&'a Slice<'b>>,
    observer: &'a dyn Observer,
    /// The inputs of the stage looked at last: layers of one stage share them.
    last: Option<(StageKey, KnownInputs)>,
}

impl Survey<'_> {
    /// Does what is missing.
    pub(super) fn complete(&mut self, observer: &dyn Observer) -> Result<(), SessionError> {
        self.gains = self.kept_gains();
        let needs_gains = self.gains.is_empty() && self.needs_gains();
        if needs_gains || self.needs_slice() {
            let session = self.session;
            let slice = session.slice(&self.text, observer)?;
            if needs_gains {
                let seed = self.request.recipe.calibration.seed;
                self.gains = output_gains(&slice, seed, observer)?;
                self.keep(&self.gains_note(), &self.gains)?;
                // As a later session will read them.
                self.gains = self.kept_gains();
                if self.gains.is_empty() {
                    return Err(session.input_problem(
                        "the gradient of the loss is not finite on this text; measure without gradients (--gain measured), or take another text",
                    ));
                }
            }
            self.judge_all(Some(&slice), observer)?;
        } else {
            self.judge_all(None, observer)?;
        }
        self.measure_anchors(observer)
    }

    /// Whether any cell waits to be weighed by a gradient pass.
    fn needs_gains(&self) -> bool {
        let asked = self.asked();
        self.judging.iter().any(|judging| {
            let own = self.method(judging, asked);
            self.has_gradient(judging) && !self.cells_missing(judging, own).is_empty()
        })
    }

    /// Whether whole models are measured, or what ends see is asked.
    fn needs_slice(&self) -> bool {
        let own = self.asked();
        self.judging.iter().any(|judging| {
            let is_end = self.inputs.stage_of(judging.layer).is_none();
            let method = self.method(judging, own);
            !self.probes_missing(judging).is_empty()
                || (is_end && !self.cells_missing(judging, method).is_empty())
        })
    }

    fn judge_all(
        &mut self,
        slice: Option<&Slice<'_>>,
        observer: &dyn Observer,
    ) -> Result<(), SessionError> {
        let mut bench = Bench {
            slice,
            observer,
            last: None,
        };
        let steps = self.judging.len() as u64;
        let passes: &[(By, &str)] = match self.asked() {
            By::Rounding => &[(By::Rounding, "judging layers by rounding")],
            By::Own => &[
                (By::Rounding, "judging layers by rounding"),
                (By::Own, "judging layers by the recipe's method"),
            ],
        };
        for &(by, name) in passes {
            observer.notice(Notice::Stage { name, steps });
            for place in 0..self.judging.len() {
                observer.check()?;
                self.judge_layer(place, by, &mut bench)?;
                observer.notice(Notice::Sensitivity(&self.row(&self.judging[place])));
                observer.step(place as u64 + 1, steps);
            }
        }
        Ok(())
    }

    /// The missing cells of one layer, and its probes where `by` is what is asked.
    fn judge_layer(
        &mut self,
        place: usize,
        by: By,
        bench: &mut Bench<'_, '_>,
    ) -> Result<(), SessionError> {
        let (slice, observer) = (bench.slice, bench.observer);
        let judging = &self.judging[place];
        let (layer, base) = (judging.layer, judging.base);
        let method = self.method(judging, by);
        let probes = match by == self.asked() {
            true => self.probes_missing(judging),
            false => Vec::new(),
        };
        let mut options = self.cells_missing(judging, method);
        for &probe in &probes {
            if !options.contains(&probe) {
                options.push(probe);
            }
        }
        if options.is_empty() {
            return Ok(());
        }
        let info = &self.session.layers[layer];
        let weights = info.read(self.session.checkpoint.as_ref())?;
        let counts = match (info.kind, slice) {
            (LayerKind::Embedding, Some(slice)) => slice.token_counts(),
            _ => Vec::new(),
        };
        let inputs = match info.kind {
            LayerKind::Embedding => Inputs::Lookups(&counts),
            _ => Inputs::Known(self.known_inputs(layer, bench)?),
        };
        let subject = Subject::new(&weights, inputs, self.gains_of(judging)).stored_as(info.dtype);
        let mut row = judging.row.clone();
        // Options of one group share what solvers make of the inputs.
        options.sort_by_key(|option| option.group().unwrap_or(0));
        let base = match by {
            By::Rounding => quick(base, method),
            By::Own => base,
        };
        for option in options {
            observer.check()?;
            let settings = option.apply(&base, method);
            let judged = subject
                .judge(&settings, &Silent(observer))
                .map_err(|error| CompressError::of_solver(info, error))?;
            row.keep(option, method, &judged);
            if let Some(slice) = slice.filter(|_| probes.contains(&option)) {
                let loss = probe(slice, layer, judged)?;
                row.keep_probe(method, Probe { option, loss });
            }
        }
        self.inputs
            .keep_note(&self.judging[place].note, &row.to_bytes())?;
        self.judging[place].row = row;
        Ok(())
    }

    /// What the inputs of a layer are like.
    fn known_inputs<'b>(
        &self,
        layer: usize,
        bench: &'b mut Bench<'_, '_>,
    ) -> Result<&'b KnownInputs, SessionError> {
        // No block has this number: it stands for the head's input.
        const HEAD: StageKey = StageKey {
            block: usize::MAX,
            stage: 0,
        };
        let stage = self.inputs.stage_of(layer).unwrap_or(HEAD);
        let is_known = bench
            .last
            .as_ref()
            .is_some_and(|(known, _)| *known == stage);
        if !is_known {
            // Two Gram matrices and their factors at once would be too much memory.
            bench.last = None;
            let moments = match self.inputs.of_layer(layer)? {
                Some(moments) => moments,
                None => self.head_moments(bench)?,
            };
            bench.last = Some((stage, KnownInputs::new(moments)));
        }
        let (_, known) = bench.last.as_ref().expect("put there above");
        Ok(known)
    }

    fn head_moments(&self, bench: &Bench<'_, '_>) -> Result<Moments, SessionError> {
        let slice = bench.slice.expect("a slice is made where ends are judged");
        Ok(slice.head_moments()?)
    }

    /// All judged layers together at some options, each by a whole run.
    fn measure_anchors(&mut self, observer: &dyn Observer) -> Result<(), SessionError> {
        for option in self.request.effort.anchors.clone() {
            if self.anchors.iter().any(|anchor| anchor.option == option) {
                continue;
            }
            let recipe = self.recipe_with(option);
            let measured =
                self.session
                    .loss_of_recipe(&recipe, Format::Pare, &self.text, observer)?;
            self.anchors.push(Anchor {
                option,
                loss: rounded(measured.mean),
            });
            self.keep(&self.anchors_note(), &self.anchors)?;
        }
        Ok(())
    }
}

/// Settings whose errors are known at once: plain rounding, zeros by score alone.
fn quick(base: LayerSettings, method: Method) -> LayerSettings {
    let mut settings = LayerSettings { method, ..base };
    if settings.prune.method == PruneMethod::SparseGpt {
        settings.prune.method = PruneMethod::Wanda;
    }
    settings
}

/// The loss of the whole model with this layer alone changed.
fn probe(slice: &Slice<'_>, layer: usize, judged: Judged) -> Result<f64, SessionError> {
    let values: Arc<Matrix> = Arc::new(judged.values);
    Ok(slice.loss_with(&[(layer, values)])?)
}
