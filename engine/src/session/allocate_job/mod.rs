//! `allocate`: from a sensitivity table to a recipe within a budget, held against uniform bits and the rule of thumb that
//! first and last blocks need more.
//!
//! Bytes of layers are exact before anything is written; those of whole files come from a dry run, so that a budget in
//! bytes is never exceeded by one.

mod clock;
mod report;
mod timed;

pub use timed::{TimedGround, TimedPlanner, WithinTime};

use super::choose_requests::{AllocateReport, AllocateRequest, Budget, Candidate};
use super::requests::CompressRequest;
use super::scored_text::{Loss, ScoredText};
use super::sensitivity::settings_of;
use super::{Session, SessionError};
use crate::allocate::{AllocateError, Allocation, Planner};
use crate::formats::Format;
use crate::formats::layout::{preflight, stored_bytes};
use crate::model::LayerInfo;
use crate::recipe::Recipe;
use crate::report::{Observer, SensitivityTable};
use crate::settings::LayerSettings;
use crate::solved::Method;
use clock::Clock;
use std::path::PathBuf;

/// Tries to meet a budget of whole files: their headers grow and shrink with the choice by some bytes.
const MOST_TRIES: usize = 16;

/// One recipe and what it writes.
struct Candidacy {
    candidate: Candidate,
    allocation: Allocation,
    recipe: Recipe,
    /// Bytes of all files.
    bytes: u64,
    measured: Option<Loss>,
}

/// All that candidates are made of.
struct Field<'a> {
    session: &'a Session,
    request: &'a AllocateRequest,
    table: SensitivityTable,
    planner: Planner,
    /// Tells times, where a device is named.
    clock: Option<Clock>,
    /// Of a budget of time: settings about which layers were timed.
    around: Vec<LayerSettings>,
    /// Bytes of files beside the compressible layers, of the recipe as asked.
    beside: u64,
    /// Which layers bits for each weight are counted over: those that are chosen for, and those that are locked to codes.
    /// What stays dense would eat the budget of the others.
    counted: Vec<bool>,
    /// Bytes of the compressible layers that are not counted.
    other: u64,
}

impl Session {
    /// The best recipe known within the budget.
    pub fn allocate(
        &self,
        request: &AllocateRequest,
        observer: &dyn Observer,
    ) -> Result<AllocateReport, SessionError> {
        self.install(|| self.allocate_here(request, observer))
    }

    /// The settings of all layers as `format` can hold them.
    fn held_settings(
        &self,
        recipe: &Recipe,
        format: Format,
    ) -> Result<Vec<LayerSettings>, SessionError> {
        let mut settings = settings_of(recipe, &self.layers);
        let compressible: Vec<usize> = (0..self.layers.len())
            .filter(|&layer| self.layers[layer].compressible)
            .collect();
        let asked: Vec<(LayerInfo, LayerSettings)> = compressible
            .iter()
            .map(|&layer| (self.layers[layer].clone(), settings[layer]))
            .collect();
        for (layer, held) in compressible
            .into_iter()
            .zip(preflight(format, &asked, false)?)
        {
            settings[layer] = held.settings;
        }
        Ok(settings)
    }

    fn allocate_here(
        &self,
        request: &AllocateRequest,
        observer: &dyn Observer,
    ) -> Result<AllocateReport, SessionError> {
        let table = self.sensitivity_here(&request.sensitivity, observer)?.table;
        let field = Field::new(self, request, table)?;
        let mut candidates = vec![field.allocated()?];
        candidates.extend(field.others()?);
        if let Some(verification) = &request.verify {
            let sensitivity = &request.sensitivity;
            let calibration = &sensitivity.recipe.calibration;
            let slice = self.scored_slice(&sensitivity.slice, calibration, observer)?;
            let text = self.verification_text(verification, &slice)?;
            field.measure(&mut candidates, &text, observer)?;
        }
        field.report(candidates)
    }
}

impl<'a> Field<'a> {
    fn new(
        session: &'a Session,
        request: &'a AllocateRequest,
        table: SensitivityTable,
    ) -> Result<Self, SessionError> {
        let sensitivity = &request.sensitivity;
        let base = session.held_settings(&sensitivity.recipe, sensitivity.format)?;
        let kept = sensitivity.recipe.kv_cache;
        let clock = request.target.as_ref();
        let clock = clock.map(|target| Clock::new(session, target, sensitivity.format, kept));
        let clock = clock.transpose()?;
        let (planner, around) = planned(session, request, &table, &base, clock.as_ref())?;
        let mut field = Self {
            session,
            request,
            table,
            planner,
            clock,
            around,
            beside: 0,
            counted: vec![false; base.len()],
            other: 0,
        };
        for judged in &field.table.layers {
            let is_coded = base[judged.layer].method != Method::None;
            field.counted[judged.layer] = is_coded;
        }
        for layer in field.planner.with_a_choice() {
            field.counted[layer] = true;
        }
        let of_layers = field.bytes_of_layers(&base, |_| true);
        field.other = field.bytes_of_layers(&base, |layer| !field.counted[layer]);
        let recipe = sensitivity.recipe.saying(session.layers(), &base);
        field.beside = field.bytes_of_files(&recipe)?.saturating_sub(of_layers);
        Ok(field)
    }

    /// The best allocation whose files stay within the budget.
    fn allocated(&self) -> Result<Candidacy, SessionError> {
        let solve = |bytes| {
            let solved = self.planner.solve(bytes);
            Ok(Some(solved.map_err(|error| self.too_small(error))?))
        };
        let found = self.within(Candidate::Allocated, &solve)?;
        found.ok_or_else(|| {
            self.session.input_problem(
                "no allocation was found whose files stay within the budget; allow some hundred bytes more",
            )
        })
    }

    /// What else the same bytes buy, as far as anything fits.
    fn others(&self) -> Result<Vec<Candidacy>, SessionError> {
        let uniform = self.within(Candidate::Uniform, &|bytes| Ok(self.planner.uniform(bytes)))?;
        let ends_higher = self.within(Candidate::EndsHigher, &|bytes| {
            Ok(self.planner.ends_higher(bytes))
        })?;
        Ok(uniform.into_iter().chain(ends_higher).collect())
    }

    /// What `choose` makes of the budget of layers, which shrinks until the files fit; `None` where nothing does.
    fn within(
        &self,
        candidate: Candidate,
        choose: &dyn Fn(u64) -> Result<Option<Allocation>, SessionError>,
    ) -> Result<Option<Candidacy>, SessionError> {
        let mut budget_bytes = self.layer_budget()?;
        if let (Budget::Milliseconds(most), Some(clock)) = (self.request.budget, &self.clock) {
            let solve = |room: u64| choose(room).ok().flatten();
            return match clock.within(most, budget_bytes, &solve) {
                Some(found) => self.candidacy(candidate, found).map(Some),
                // Asked for nothing, it says what is the least.
                None => choose(0).map(|_| None),
            };
        }
        for _ in 0..MOST_TRIES {
            let Some(allocation) = choose(budget_bytes)? else {
                return Ok(None);
            };
            let found = self.candidacy(candidate, allocation)?;
            match self.excess(&found) {
                0 => return Ok(Some(found)),
                excess => budget_bytes = found.allocation.bytes.saturating_sub(excess),
            }
        }
        Ok(None)
    }

    /// The smallest recipe in the words of the budget: milliseconds, or bytes of files.
    fn too_small(&self, error: AllocateError) -> SessionError {
        let (AllocateError::TooSmall { smallest_bytes, .. }, Some(clock)) = (&error, &self.clock)
        else {
            return self.in_files(error).into();
        };
        let smallest = self.planner.solve(*smallest_bytes).ok();
        match (self.request.budget, smallest) {
            (Budget::Milliseconds(asked), Some(found)) => {
                let least = clock.milliseconds(&found.settings);
                self.session.input_problem(&format!(
                    "{asked} ms are too little: the fastest allowed recipe takes {least:.4} ms for {}; raise the budget, or allow fewer bits",
                    clock.subject()
                ))
            }
            _ => self.in_files(error).into(),
        }
    }

    /// Of a budget of files, the smallest recipe is told in bytes of files.
    fn in_files(&self, error: AllocateError) -> AllocateError {
        let (AllocateError::TooSmall { smallest_bytes, .. }, Budget::Bytes(asked_bytes)) =
            (&error, self.request.budget)
        else {
            return error;
        };
        let smallest = self.planner.solve(*smallest_bytes).ok();
        let smallest =
            smallest.and_then(|allocation| self.candidacy(Candidate::Allocated, allocation).ok());
        match smallest {
            Some(found) => AllocateError::TooSmall {
                asked_bytes,
                smallest_bytes: found.bytes,
            },
            None => error,
        }
    }

    /// Measures every candidate by a whole run; equal recipes once.
    fn measure(
        &self,
        candidates: &mut [Candidacy],
        text: &ScoredText,
        observer: &dyn Observer,
    ) -> Result<(), SessionError> {
        let format = self.request.sensitivity.format;
        for place in 0..candidates.len() {
            let (known, rest) = candidates.split_at_mut(place);
            let candidate = &mut rest[0];
            let same = known.iter().find(|known| known.recipe == candidate.recipe);
            candidate.measured = match same {
                Some(same) => same.measured,
                None => {
                    Some(
                        self.session
                            .loss_of_recipe(&candidate.recipe, format, text, observer)?,
                    )
                }
            };
        }
        Ok(())
    }

    fn candidacy(
        &self,
        candidate: Candidate,
        allocation: Allocation,
    ) -> Result<Candidacy, SessionError> {
        let layers = self.session.layers();
        let recipe = self
            .request
            .sensitivity
            .recipe
            .saying(layers, &allocation.settings);
        Ok(Candidacy {
            candidate,
            bytes: self.bytes_of_files(&recipe)?,
            recipe,
            allocation,
            measured: None,
        })
    }

    /// What all compressible layers may take together: bytes, or picoseconds of a budget of time.
    fn layer_budget(&self) -> Result<u64, SessionError> {
        match self.request.budget {
            Budget::Bytes(bytes) => Ok(bytes.saturating_sub(self.beside)),
            Budget::Milliseconds(most) => {
                let layers = of_layers(&self.planner, &self.around);
                let clock = self.clock.as_ref();
                Ok(clock.map_or(0, |clock| clock.room(most, &self.around, layers)))
            }
            Budget::BitsPerWeight(bits) if bits.is_finite() && bits > 0.0 => {
                let counted = (bits * self.counted_weights() as f64 / 8.0).floor() as u64;
                Ok(counted.saturating_add(self.other))
            }
            Budget::BitsPerWeight(bits) => Err(self.session.input_problem(&format!(
                "{bits} bits for each weight is no budget; give a number above 0, as 4.25"
            ))),
        }
    }

    /// Bytes that all files may take: of a budget in bits, those of the layers and what these `candidates` need beside.
    fn file_budget(&self, candidates: &[Candidacy]) -> Result<u64, SessionError> {
        if let Budget::Bytes(bytes) = self.request.budget {
            return Ok(bytes);
        }
        if let Budget::Milliseconds(_) = self.request.budget {
            return Ok(candidates
                .iter()
                .map(|found| found.bytes)
                .max()
                .unwrap_or(0));
        }
        let beside = |found: &Candidacy| found.bytes.saturating_sub(found.allocation.bytes);
        let beside = candidates.iter().map(beside).max();
        Ok(self
            .layer_budget()?
            .saturating_add(beside.unwrap_or(self.beside)))
    }

    /// Bytes by which files exceed the budget.
    fn excess(&self, found: &Candidacy) -> u64 {
        match self.request.budget {
            Budget::Bytes(most) => found.bytes.saturating_sub(most),
            // Solved in units of layers, which are exact.
            Budget::BitsPerWeight(_) | Budget::Milliseconds(_) => 0,
        }
    }

    fn counted_weights(&self) -> u64 {
        let layers = self.session.layers().iter().zip(&self.counted);
        let counted = layers.filter(|(_, counted)| **counted);
        counted.map(|(info, _)| info.parameters).sum()
    }

    fn bytes_of_layers(&self, settings: &[LayerSettings], counts: impl Fn(usize) -> bool) -> u64 {
        let layers = self.session.layers().iter().zip(settings).enumerate();
        let counted = layers.filter(|(layer, (info, _))| info.compressible && counts(*layer));
        let format = self.request.sensitivity.format;
        counted
            .map(|(_, (info, settings))| stored_bytes(format, info, settings))
            .sum()
    }

    fn bytes_of_files(&self, recipe: &Recipe) -> Result<u64, SessionError> {
        let request = CompressRequest {
            recipe: recipe.clone(),
            // A dry run writes nothing.
            out: PathBuf::new(),
            format: self.request.sensitivity.format,
            evaluate: None,
            resume: false,
            keep_layers: false,
        };
        Ok(self.session.dry_run(&request)?.bytes_after)
    }
}

/// A planner whose prices are those of the budget, and the settings about which it was made.
fn planned(
    session: &Session,
    request: &AllocateRequest,
    table: &SensitivityTable,
    base: &[LayerSettings],
    clock: Option<&Clock>,
) -> Result<(Planner, Vec<LayerSettings>), SessionError> {
    let (layers, format) = (session.layers(), request.sensitivity.format);
    let Budget::Milliseconds(most) = request.budget else {
        let planner = Planner::new(table, layers, base, format, &request.rules)?;
        return Ok((planner, base.to_vec()));
    };
    let Some(clock) = clock.filter(|_| most.is_finite() && most > 0.0) else {
        return Err(session
            .input_problem("a budget of time needs milliseconds above 0 and a device; name both"));
    };
    let ground = TimedGround {
        table: table.clone(),
        settings: base.to_vec(),
        format,
        rules: request.rules.clone(),
    };
    let timed = TimedPlanner::of(ground, clock.clone())?;
    Ok(timed.about(most)?.into_parts())
}

/// What compressible layers cost under `settings`.
fn of_layers(planner: &Planner, settings: &[LayerSettings]) -> u64 {
    planner.fixed_bytes() + planner.free_bytes_of(settings)
}
